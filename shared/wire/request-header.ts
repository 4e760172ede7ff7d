/** Every request over TCP carries it, so that no form of a web page and no plain proxy can. */
export const REQUEST_HEADER = 'holdfast-request';
