/** What the labels of a host may be made of. */
export const LABEL_KEY_PATTERN = '^[a-z]([a-z0-9._/-]{0,61}[a-z0-9])?$';
export const LABEL_VALUE_PATTERN = '^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$';
