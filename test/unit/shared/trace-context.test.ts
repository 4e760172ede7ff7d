import { describe, expect, test } from 'vitest';
import {
  TRACESTATE_LENGTH_MAX,
  parseTraceContext,
  spanIdOf,
  traceFlagsOf,
  traceIdOf,
} from '../../../shared/core/trace-context.ts';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';
const GIVEN = `00-${TRACE_ID}-${SPAN_ID}-01`;

describe('a trace context', () => {
  test('is taken as it came', () => {
    const parsed = parseTraceContext(GIVEN, 'a=1,b=2');
    expect(parsed).toEqual({ traceparent: GIVEN, tracestate: 'a=1,b=2' });
    expect(
      parsed === null ? [] : [traceIdOf(parsed), spanIdOf(parsed), traceFlagsOf(parsed)],
    ).toEqual([TRACE_ID, SPAN_ID, 1]);
  });

  test('of a later version is read as far as it is known', () => {
    expect(parseTraceContext(`cc-${TRACE_ID}-${SPAN_ID}-09-what-will-be`)).toEqual({
      traceparent: `00-${TRACE_ID}-${SPAN_ID}-09`,
    });
  });

  test.each([
    ['nothing', undefined],
    ['no text', [GIVEN]],
    ['an empty one', ''],
    ['upper case', GIVEN.toUpperCase()],
    ['a version that may never be', `ff-${TRACE_ID}-${SPAN_ID}-01`],
    ['more than version 00 has', `${GIVEN}-x`],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${SPAN_ID}-01`],
    ['a span of zeros', `00-${TRACE_ID}-${'0'.repeat(16)}-01`],
    ['a short trace', `00-${TRACE_ID.slice(1)}-${SPAN_ID}-01`],
    ['a header after it', `${GIVEN}\r\nx: y`],
  ])('is none where it is %s', (_, traceparent) => {
    expect(parseTraceContext(traceparent, 'a=1')).toBeNull();
  });

  test.each([
    ['too long', 'x'.repeat(TRACESTATE_LENGTH_MAX + 1)],
    ['not in ASCII', 'a=ü'],
    ['empty', ''],
    ['several', ['a=1', 'b=2']],
  ])('goes on without a state that is %s', (_, tracestate) => {
    expect(parseTraceContext(GIVEN, tracestate)).toEqual({ traceparent: GIVEN });
  });
});
