/** The client's address behind proxies: believed where it was written by somebody who is trusted, and nowhere else. */
import type { IncomingMessage } from 'node:http';
import { networkOf } from '../src/auth/network';
import { readConfig, ConfigError } from '../src/config';
import { originReader, type TrustProxy } from '../src/endpoint/origin';

/** What `originReader` looks at of a request. */
function addressOf(trust: TrustProxy, peer: string | undefined, forwarded?: string): string | null {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
  return originReader(trust)({ socket: { remoteAddress: peer }, headers } as unknown as IncomingMessage).address;
}

test.each<[TrustProxy, string | undefined, string | undefined, string | null]>([
  // nobody is trusted
  [0, '10.0.0.1', undefined, '10.0.0.1'],
  [0, '10.0.0.1', '192.0.2.1', '10.0.0.1'],
  [[], '10.0.0.1', '192.0.2.1', '10.0.0.1'],
  [0, undefined, '192.0.2.1', null],
  // so many proxies
  [1, '10.0.0.1', '192.0.2.1', '192.0.2.1'],
  [1, '10.0.0.1', '203.0.113.9, 192.0.2.1', '192.0.2.1'],
  [2, '10.0.0.1', '203.0.113.9, 192.0.2.1, 10.0.0.2', '192.0.2.1'],
  [9, '10.0.0.1', '203.0.113.9, 192.0.2.1', '203.0.113.9'],
  [1, '10.0.0.1', undefined, '10.0.0.1'],
  // those at these addresses
  [['10.0.0.0/8'], '10.0.0.1', '192.0.2.1', '192.0.2.1'],
  [['10.0.0.0/8'], '192.0.2.7', '192.0.2.1', '192.0.2.7'],
  [['10.0.0.0/8'], '10.0.0.1', '203.0.113.9, 192.0.2.1, 10.1.1.1', '192.0.2.1'],
  [['loopback'], '::ffff:127.0.0.1', '192.0.2.1', '192.0.2.1'],
  [['2001:db8::/32'], '2001:db8::5', '192.0.2.1', '192.0.2.1'],
  // however they write it
  [1, '10.0.0.1', '192.0.2.1:4711', '192.0.2.1'],
  [1, '10.0.0.1', '[2001:DB8:0::1]:4711', '2001:db8::1'],
  [1, '10.0.0.1', '[2001:db8::1]', '2001:db8::1'],
  [1, '10.0.0.1', '::ffff:192.0.2.1', '192.0.2.1'],
  [1, '10.0.0.1', '::ffff:c000:201', '192.0.2.1'],
  [1, '10.0.0.1', 'fe80::1%eth0', 'fe80::1'],
  [['10.0.0.0/8'], '10.0.0.1', '192.0.2.1, 10.0.0.2:80', '192.0.2.1'],
  // what is no address tells nothing: then it is the last proxy that is known
  [1, '10.0.0.1', '', '10.0.0.1'],
  [1, '10.0.0.1', 'unknown', '10.0.0.1'],
  [1, '10.0.0.1', "1.2.3.4' or 1=1 --", '10.0.0.1'],
  [2, '10.0.0.1', 'localhost, 192.0.2.1', '192.0.2.1'],
  [1, '10.0.0.1', '999.1.1.1', '10.0.0.1'],
  [1, '10.0.0.1', ','.repeat(5000), '10.0.0.1'],
  [9, '10.0.0.1', '[::1', '10.0.0.1'],
])('trusting %j, a request of %s for %j is of %s', (trust, peer, forwarded, address) => {
  expect(addressOf(trust, peer, forwarded)).toBe(address);
});

test('the name of a client cannot break a line of a log, nor steer a terminal, nor be endless', () => {
  const request = { socket: {}, headers: { 'user-agent': `a\u009b31mb\tc\u0085d${'x'.repeat(1000)}` } };
  const { client } = originReader(0)(request as unknown as IncomingMessage);
  expect(client).toMatch(/^a 31mb c dx+$/);
  expect(client).toHaveLength(200);
});

test.each([
  [null, 'unknown'],
  ['192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::5', '2001:db8:0:0::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['::1', '0:0:0:0::/64'],
  ['2001:0:0:4:5::', '2001:0:0:4::/64'],
])('%s is counted as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test.each([
  ['0', 0],
  ['2', 2],
  ['10.0.0.0/8, ::1,loopback', ['10.0.0.0/8', '::1', 'loopback']],
  ['10.0.0.0/255.0.0.0', ['10.0.0.0/255.0.0.0']],
])('TRUST_PROXY=%s', (text, trustProxy) => {
  expect(readConfig('all', { TRUST_PROXY: text })).toMatchObject({ trustProxy });
});

test.each(['yes', 'true', '-1', '100', '10.0.0.0/33', '10.0.0.1,', 'proxy.test', '*'])(
  'TRUST_PROXY=%s is a fault, in a sentence',
  (text) => {
    const sentence =
      'TRUST_PROXY must be a number of proxies, or addresses and networks like 10.0.0.0/8 with commas between them.';
    expect(() => readConfig('all', { TRUST_PROXY: text })).toThrow(new ConfigError([sentence]));
  },
);
