/**
 * A strict reader of the XML that a report may hold: elements, attributes, text, and the entities
 * that XML itself has. Anything else is an error, so what it reads every reader reads.
 */
export type XmlElement = {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  readonly text: string;
};

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
const TAG = /^<(\/?)([a-zA-Z][\w.-]*)((?: [a-zA-Z][\w.-]*="[^"<]*")*)(\/?)>/;
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

type Open = {
  name: string;
  attributes: Record<string, string>;
  children: XmlElement[];
  text: string;
};

export function xmlTree(xml: string): XmlElement {
  if (!xml.startsWith(DECLARATION)) throw new Error('there is no declaration');
  if (/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(xml)) {
    throw new Error('it holds a character that XML has no form for');
  }
  const root: Open = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  let rest = xml.slice(DECLARATION.length);
  while (rest !== '') {
    const top = open.at(-1) ?? root;
    const tag = TAG.exec(rest);
    if (tag === null) {
      const end = rest.indexOf('<');
      if (end === 0) throw new Error(`no tag: ${rest.slice(0, 60)}`);
      const text = end < 0 ? rest : rest.slice(0, end);
      top.text += unescaped(text);
      rest = rest.slice(text.length);
      continue;
    }
    const [all, isEnd, name = '', attributes = '', isEmpty] = tag;
    rest = rest.slice(all.length);
    if (isEnd === '/') {
      if (open.pop()?.name !== name) throw new Error(`</${name}> ends another element`);
      continue;
    }
    const element: Open = { name, attributes: attributesOf(attributes), children: [], text: '' };
    top.children.push(element);
    if (isEmpty !== '/') open.push(element);
  }
  const [only, ...others] = root.children;
  if (open.length !== 1 || only === undefined || others.length > 0 || root.text.trim() !== '') {
    throw new Error('it is not one element');
  }
  return only;
}

function attributesOf(text: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, name = '', value = ''] of text.matchAll(/ ([\w.-]+)="([^"]*)"/g)) {
    if (Object.hasOwn(attributes, name)) throw new Error(`attribute ${name} stands twice`);
    // A line break in an attribute is read as a space: it must be escaped to stay one.
    if (/[\n\r\t]/.test(value)) throw new Error(`attribute ${name} holds a bare line break`);
    attributes[name] = unescaped(value);
  }
  return attributes;
}

function unescaped(text: string): string {
  if (text.includes(']]>')) throw new Error(']]> stands in text');
  return text.replaceAll(/&(?:#(\d+)|(\w+));|&/g, (all, code?: string, name?: string) => {
    if (code !== undefined) return String.fromCodePoint(Number(code));
    const character = name === undefined ? undefined : ENTITIES[name];
    if (character === undefined) throw new Error(`${all} is no entity`);
    return character;
  });
}
