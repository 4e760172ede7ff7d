/** What a run of the command has around it; tests hand in their own. */
export type Stream = {
  write(text: string): unknown;
  readonly isTTY?: boolean;
};

export type Surroundings = {
  /** Without the program itself. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdout: Stream;
  readonly stderr: Stream;
};
