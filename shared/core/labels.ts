/** What the labels of a host may be made of, whether it says them or an operator. */
export const LABEL_KEY_PATTERN = '^[a-z]([a-z0-9._/-]{0,61}[a-z0-9])?$';
export const LABEL_VALUE_PATTERN = '^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$';

/** The same, for people. */
export const LABEL_FORM =
  'a name is lower case, digits, dots, slashes and hyphens and begins with a letter, a value is letters, digits, dots and hyphens, each up to 63';
