/** Where a probe may go: a policy from elsewhere must not reach what this host can. */
import { describe, expect, test } from 'vitest';
import { sidecarSettings } from '../../../dataplane/config.ts';
import { LOOPBACK_TARGETS, probeTargets } from '../../../dataplane/recovery/probe-targets.ts';

describe('by default, loopback and nothing else', () => {
  const targets = probeTargets(LOOPBACK_TARGETS);

  test.each([
    'http://127.0.0.1:8080/verify',
    'http://localhost/verify?a=b',
    'https://[::1]:9/',
    // The same address in other words.
    'http://2130706433/',
    'http://127.1/',
  ])('%s is asked', (url) => {
    expect(targets.problemOf(url)).toBeNull();
  });

  test.each([
    'http://169.254.169.254/latest/meta-data',
    'http://127.0.0.1.evil.test/',
    'http://localhost.evil.test/',
    'http://10.0.0.7/',
    'http://0.0.0.0:8080/',
    'http://[::ffff:7f00:1]/',
    'http://127.0.0.1@evil.test/',
    'http://user:pass@127.0.0.1/',
    'ftp://127.0.0.1/',
    'file:///etc/passwd',
    'not a url',
  ])('%s is not', (url) => {
    expect(targets.problemOf(url)).not.toBeNull();
  });
});

test('a port that is named is the only one; the standard one of a scheme counts as said', () => {
  const targets = probeTargets(['verify.shop.test:8443', 'other.test', 'plain.test:80']);
  expect(targets.problemOf('https://verify.shop.test:8443/v')).toBeNull();
  expect(targets.problemOf('https://VERIFY.shop.test:8443/v')).toBeNull();
  expect(targets.problemOf('https://verify.shop.test/v')).toContain('verify.shop.test:443: add it');
  expect(targets.problemOf('http://other.test:81/')).toBeNull();
  expect(targets.problemOf('http://plain.test/')).toBeNull();
  expect(targets.problemOf('https://plain.test/')).not.toBeNull();
});

test.each(['http://a.test', 'a.test/path', '*.test', 'user@a.test', 'a.test:99999', ''])(
  'the configuration %j refuses to start, and says how to write it',
  (target) => {
    const config = {
      dataDir: '/tmp/x',
      listen: '127.0.0.1:0',
      allowedHosts: [],
      controlUrl: 'http://127.0.0.1:7480',
      labels: [],
      appAuth: 'off' as const,
      syncInterval: '5s',
      requestTimeout: '5s',
      freshTimeout: '2s',
      controlLossAfter: '10s',
      ballast: '0B',
      writeWaitMax: '2s',
      retention: '7d',
      maxJournalSize: 'off',
      resumeRate: 50,
      registersMax: 10,
      probeTargets: [target],
      logLevel: 'silent' as const,
    };
    expect(() => sidecarSettings(config)).toThrow('write a name or an address');
  },
);
