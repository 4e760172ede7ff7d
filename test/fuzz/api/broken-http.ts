/** What is wrong with a request below its body: its target, its headers, its framing, its end. */
import { LETTERS, type Draw } from '../draw.ts';

export type Wire = {
  readonly bytes: Buffer;
  /** On a connection of its own, which may be closed for it. */
  readonly isAlone: boolean;
  /** Not whole: nothing more comes, and no answer need come. */
  readonly isCut: boolean;
};

export type Whole = {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
};

const PATH_TRICKS = [
  '/..',
  '/../../etc/passwd',
  '/%2e%2e/%2e%2e',
  '/./',
  '//',
  '/%2f',
  '%2f%2f',
  '%00',
  '%0d%0aX-Injected:%20yes',
  '%',
  '%zz',
  '%c0%ae%c0%ae',
  '%ff',
  '/%F0%9F%92%A9',
  ';a=b',
  '/__proto__',
  '/constructor',
  '#fragment',
  '\\..\\',
  ':',
  '::',
  '*',
  '/{id}',
];
const QUERY_TRICKS = [
  '?',
  '??',
  '?&&&',
  '?limit=',
  '?limit=1&limit=2',
  '?limit[]=1',
  '?limit[a]=1',
  '?__proto__=1',
  '?__proto__[a]=1',
  '?constructor=1',
  '?toString=1',
  '?limit=1e9',
  '?limit=%00',
  '?limit=NaN',
  '?limit=-1',
  '?limit=99999999999999999999',
  '?cursor=%',
  '?cursor=%ff%fe',
  '?cursor=eyJhIjoxfQ',
  '?unknown=1',
  '?limit=1;cursor=a',
  '?=1',
  '?a=b=c',
];

export function breakTarget(target: string, draw: Draw): string {
  const [path = '', query = ''] = target.split('?', 2);
  switch (draw.below(8)) {
    case 0: {
      const at = draw.below(path.length + 1);
      return `${path.slice(0, at)}${draw.one(PATH_TRICKS)}${path.slice(at)}`;
    }
    case 1:
      return `${path}${draw.one(PATH_TRICKS)}`;
    case 2:
      return `${path}${draw.one(QUERY_TRICKS)}`;
    case 3:
      return `${path}/${draw.text(LETTERS, draw.one([301, 4_000, 20_000]))}`;
    case 4:
      return `${path}?${Array.from({ length: draw.one([50, 1_000]) }, (_, at) => `a${at}=1`).join('&')}`;
    case 5:
      return (
        draw.one(['http://127.0.0.1', 'http://elsewhere.test', 'https://x:y@z', '//host']) + target
      );
    case 6:
      return path.toUpperCase();
    default:
      return `${path.replaceAll('/', '%2F').replace('%2F', '/')}${query === '' ? '' : `?${query}`}`;
  }
}

export function breakHeaders(whole: Whole, draw: Draw): Wire {
  const headers = whole.headers.map(([name, value]): [string, string] => [name, value]);
  const some = headers[draw.below(headers.length)] ?? ['x', 'y'];
  switch (draw.below(12)) {
    case 0:
      headers.splice(headers.indexOf(some), 1);
      break;
    case 1:
      headers.push([some[0], some[1]]);
      break;
    case 2:
      headers.push([some[0], draw.one(['', 'other', '0', '\u00ff\u00fe', '*'])]);
      break;
    case 3:
      some[1] =
        some[0] === 'content-length' ? some[1] : draw.text(LETTERS, draw.one([300, 5_000, 9_000]));
      break;
    case 4:
      headers.push([draw.text(LETTERS, 8), draw.text(LETTERS, draw.one([1_000, 20_000, 100_000]))]);
      break;
    case 5:
      for (let count = draw.one([50, 500, 3_000]); count > 0; count -= 1)
        headers.push([`x-${count}`, '1']);
      break;
    case 6:
      headers.push(
        draw.one([
          ['origin', 'https://elsewhere.test'],
          ['sec-fetch-site', 'cross-site'],
          ['x-forwarded-for', '10.0.0.1'],
          ['forwarded', 'for=1'],
          ['via', '1.1 a'],
          ['upgrade', 'websocket'],
          ['upgrade', 'h2c'],
          ['http2-settings', 'AAMAAABkAARAAAAAAAIAAAAA'],
          ['te', 'trailers'],
          ['range', 'bytes=0-'],
        ]),
      );
      break;
    case 7:
      headers.push([
        'connection',
        draw.one(['close', 'upgrade', 'keep-alive, x', '', 'authorization']),
      ]);
      break;
    case 8:
      headers.push(['content-encoding', draw.one(['gzip', 'br', 'identity', 'x', 'gzip, gzip'])]);
      break;
    case 9:
      headers.push([
        'accept',
        draw.one(['a', 'application/openmetrics-text', '*/*;q=2', 'text/html', '']),
      ]);
      headers.push(['accept-encoding', draw.one(['gzip', '*', 'identity;q=0'])]);
      break;
    case 10:
      headers.push([
        'traceparent',
        draw.one([
          '00-' + '0'.repeat(32) + '-' + '0'.repeat(16) + '-01',
          'ff-a-b-c',
          'x'.repeat(2_000),
        ]),
      ]);
      headers.push(['tracestate', 'a=b,'.repeat(200)]);
      break;
    default:
      headers.push([
        'idempotency-key',
        draw.one(['', ' ', '"a"', '\u00e9', 'a b', 'x'.repeat(300), 'a,b']),
      ]);
  }
  // After a body that nobody reads, or a `close`, the daemon may end the connection.
  return { bytes: bytesOf({ ...whole, headers }), isAlone: true, isCut: false };
}

export function breakWire(whole: Whole, draw: Draw): Wire {
  const bytes = draw.chance(0.5) ? breakFraming(whole, draw) : breakHead(whole, draw);
  return { bytes, isAlone: true, isCut: true };
}

const LENGTHS = ['-1', '1e3', '0x5', '+5', '', 'a', '5, 5', '9'.repeat(30)];
const ENCODINGS = ['gzip, chunked', 'identity', 'chunked, chunked', 'x', ' chunked'];

/** Where its body ends, said wrongly, twice, or never. */
function breakFraming(whole: Whole, draw: Draw): Buffer {
  const framed = (...more: (readonly [string, string])[]): Whole => ({
    ...whole,
    headers: [...whole.headers.filter(([name]) => name !== 'content-length'), ...more],
  });
  const { length } = whole.body;
  switch (draw.below(8)) {
    case 0: {
      const text = bytesOf(whole);
      return text.subarray(0, draw.below(text.length));
    }
    case 1:
      return bytesOf(framed(['content-length', `${length + draw.between(1, 1_000_000)}`]));
    case 2:
      return bytesOf(framed(['content-length', `${Math.max(0, length - draw.between(1, 20))}`]));
    case 3:
      return bytesOf(framed(['content-length', draw.one(LENGTHS)]));
    case 4:
      return bytesOf(framed(['content-length', `${length}`], ['content-length', `${length + 1}`]));
    case 5:
      return bytesOf(framed(['content-length', `${length}`], ['transfer-encoding', 'chunked']));
    case 6: {
      const body = chunked(whole.body, draw);
      return bytesOf({ ...framed(['transfer-encoding', 'chunked']), body });
    }
    default: {
      const body = chunked(whole.body, draw);
      return bytesOf({ ...framed(['transfer-encoding', draw.one(ENCODINGS)]), body });
    }
  }
}

const EXPECTATIONS = ['100-continue', '200-ok', '', '100-continue, x'];
const VERSIONS = ['HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 x', 'HTTQ/1.1', ''];
const LINE_ENDS = ['\n', '\r', '\r\r\n', '\n\r'];
const NAMES = ['a b', 'a\0', '', 'é', 'a('];
const VALUES = ['\0', 'a\nb: c', '\x7f', '\r', ' folded\r\n more'];
const OTHERS = [
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01',
  'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n',
  '\r\n\r\n\r\n',
  'GET / HTTP/1.1\r\n\r\n',
  `GET /${'a'.repeat(70_000)} HTTP/1.1\r\n`,
];

/** Its request line, its headers and the lines that they stand on. */
function breakHead(whole: Whole, draw: Draw): Buffer {
  const text = bytesOf(whole);
  const latin = text.toString('latin1');
  const also = (name: string, value: string): Buffer =>
    bytesOf({ ...whole, headers: [...whole.headers, [name, value]] });
  switch (draw.below(8)) {
    case 0:
      return also('expect', draw.one(EXPECTATIONS));
    case 1:
      return Buffer.from(latin.replace('HTTP/1.1', draw.one(VERSIONS)), 'latin1');
    case 2:
      return Buffer.from(latin.replaceAll('\r\n', draw.one(LINE_ENDS)), 'latin1');
    case 3: {
      const at = draw.below(text.length);
      return Buffer.concat([
        text.subarray(0, at),
        draw.bytes(draw.between(1, 8)),
        text.subarray(at),
      ]);
    }
    case 4:
      return draw.bytes(draw.between(1, 2_000));
    case 5:
      return Buffer.from(draw.one(OTHERS), 'latin1');
    case 6:
      return also(draw.one(NAMES), 'x');
    default:
      return also('x-odd', draw.one(VALUES));
  }
}

function chunked(body: Buffer, draw: Draw): Buffer {
  const good = [`${body.length.toString(16)}\r\n`, body, '\r\n0\r\n\r\n'];
  const bad = draw.one([
    good,
    ['zz\r\n', body, '\r\n0\r\n\r\n'],
    ['-1\r\n', body, '\r\n0\r\n\r\n'],
    ['ffffffffffffffffff\r\n', body],
    [`${(body.length + 5).toString(16)}\r\n`, body, '\r\n0\r\n\r\n'],
    [`${body.length.toString(16)};${'x'.repeat(20_000)}\r\n`, body, '\r\n0\r\n\r\n'],
    [`${body.length.toString(16)}\r\n`, body, '\r\n0\r\ntrailer: a\r\ncontent-length: 5\r\n\r\n'],
    [`${body.length.toString(16)}\r\n`, body],
    ['0\r\n\r\n'],
  ]);
  return Buffer.concat(bad.map((part) => Buffer.from(part)));
}

export function bytesOf({ method, target, headers, body }: Whole): Buffer {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}
