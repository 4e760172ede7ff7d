/**
 * How a skipped test tells the reporter which program it lacked; the two run in different
 * processes.
 */
const PREFIX = 'missing program: ';

export function missingProgramNote(program: string): string {
  return `${PREFIX}${program}`;
}

/** The program whose absence skipped a test, from the note that the skip left. */
export function missingProgramIn(note: string | undefined): string | undefined {
  return note?.startsWith(PREFIX) === true ? note.slice(PREFIX.length) : undefined;
}
