/** What a tool answers with, as MCP has it: passed on and kept as it is, and read in two places only. */
export type ToolAnswer = {
  readonly content: readonly { readonly type: string; readonly [field: string]: unknown }[];
  readonly isError?: boolean | undefined;
  readonly structuredContent?: Readonly<Record<string, unknown>> | undefined;
  readonly _meta?: Readonly<Record<string, unknown>> | undefined;
};

/** What the sidecar keeps of a result is bounded; an answer beyond this is kept as its digest. */
export const KEPT_ANSWER_BYTES_MAX = 28 * 1024;

/** Result of the effect, on record. */
export type KeptAnswer =
  | { readonly answer: ToolAnswer }
  | {
      readonly answerOmitted: {
        readonly bytes: number;
        readonly sha256: string;
        readonly isError: boolean;
      };
    };

/** `null`: that is no record of this gateway. */
export function readKeptAnswer(result: unknown): KeptAnswer | null {
  if (typeof result !== 'object' || result === null) return null;
  const { answer, answerOmitted } = result as { answer?: unknown; answerOmitted?: unknown };
  if (isObject(answer) && Array.isArray(answer['content'])) return result as KeptAnswer;
  return isObject(answerOmitted) && typeof answerOmitted['bytes'] === 'number'
    ? (result as KeptAnswer)
    : null;
}

/** The first text of an answer, for one line. */
export function firstText({ content }: ToolAnswer): string {
  const text = content.find(({ type }) => type === 'text')?.['text'];
  return typeof text === 'string' ? (text.split('\n', 1)[0] ?? '').slice(0, 200) : 'no text';
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
