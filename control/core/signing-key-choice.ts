/** Which key signs (G1 of `signing-ring.ts`). */

/**
 * `kids` as in the file, the wanted one first. `named` by the revision that all hosts are to run;
 * `null` where nothing was ever published: hosts then know what their enrolment brought, and the
 * oldest key, which is the last, was there at each of them.
 */
export function chooseSigningKey(
  kids: readonly [string, ...string[]],
  named: ReadonlySet<string> | null,
): { readonly kid: string; readonly isKnown: boolean } {
  if (named === null) return { kid: kids.at(-1) ?? kids[0], isKnown: true };
  const known = kids.find((kid) => named.has(kid));
  return { kid: known ?? kids[0], isKnown: known !== undefined };
}
