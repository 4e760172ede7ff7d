import { POLICY_API_VERSION, PolicyDocumentSchema } from '../../../shared/wire/policy-document.ts';

/**
 * The schema that the gate itself checks with, under a name that stays: what an editor underlines
 * is what control refuses. What no schema can say, `holdfast policy validate` does.
 */
export function policyJsonSchema(): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...PolicyDocumentSchema,
    $id: `urn:holdfast:schema:policy:${POLICY_API_VERSION.split('/').at(-1)}`,
    title: 'Holdfast policy',
  };
}
