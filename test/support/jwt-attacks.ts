/** What people try who have no good token: each a value of `Authorization` that must not let anybody in. */
import { createPublicKey, randomBytes, randomUUID } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import {
  base64url,
  ecdsa,
  ecPair,
  forged,
  hmac,
  now,
  rsa,
  rsaPair,
  token,
  type Signer,
  type Target,
} from './jwt-forge';

type Attacks = Record<string, string>;

const unsigned: Signer = () => '';
const [rsaKeys, ecKeys] = [rsaPair(), ecPair()];
const partsOf = (text: string): [string, string, string] => text.split('.') as [string, string, string];
const bearer = (tokens: Attacks): Attacks => Object.fromEntries(Object.entries(tokens).map(([name, text]) => [name, `Bearer ${text}`])); // prettier-ignore

/** All of them against one target. */
export function attacksOn(of: Target): Attacks {
  return {
    ...bearer({
      ...withoutSignature(of),
      ...byAnotherAlgorithm(of),
      ...byTheirOwnKey(of),
      ...keyIds(of),
      ...times(of),
      ...audiences(of),
      ...tampered(of),
      ...signatures(of),
      ...headers(of),
      ...payloads(of),
      ...encodings(of),
    }),
    ...schemes(of),
  };
}

function withoutSignature(of: Target): Attacks {
  const spellings = ['none', 'None', 'NONE', 'nOnE', 'none ', '', 'null', null, undefined, 0, false, [], ['none'], {}, [of.name], `${of.name}\0`]; // prettier-ignore
  const each = spellings.map((alg) => [`alg ${JSON.stringify(alg)} without a signature`, forged(of, { header: { alg }, sign: unsigned })]); // prettier-ignore
  const [header, payload] = partsOf(forged(of, { header: { alg: 'none' } }));
  return {
    ...(Object.fromEntries(each) as Attacks),
    'alg none with an old signature': `${header}.${payload}.${partsOf(of.good)[2]}`,
    'alg none in two parts': `${header}.${payload}`,
    'alg none as ADMIN': forged(of, { header: { alg: 'none' }, claims: { role: 'ADMIN' }, sign: unsigned }),
    'our alg without a signature': forged(of, { sign: unsigned }),
    'our alg in two parts': partsOf(of.good).slice(0, 2).join('.'),
    'only a signature': `..${partsOf(of.good)[2]}`,
  };
}

function byAnotherAlgorithm(of: Target): Attacks {
  const { publicKey } = of;
  const asHs = (secret: string | Buffer) => forged(of, { header: { alg: 'HS256' }, sign: hmac(secret) });
  const common = {
    'an alg in lower case': forged(of, { header: { alg: of.name.toLowerCase() } }),
    'alg HS384 for our key': forged(of, { header: { alg: 'HS384' } }),
    'alg ES256K': forged(of, { header: { alg: 'ES256K' } }),
    'alg EdDSA': forged(of, { header: { alg: 'EdDSA' } }),
    'alg PS256': forged(of, { header: { alg: 'PS256' } }),
    'HS256 by an empty secret': asHs(''),
    'HS256 by a zero byte': asHs('\0'),
    'HS256 by a weak secret': asHs('secret'),
    'HS256 by the key id': asHs(of.header.kid ?? ''),
    'HS256 by the issuer': asHs('keyframe'),
  };
  if (publicKey === null) return { ...common, 'HS512 by our own secret': forged(of, { header: { alg: 'HS512' } }) };
  const key = createPublicKey(publicKey);
  const jwk = key.export({ format: 'jwk' });
  return {
    ...common,
    'HS256 by the public key': asHs(publicKey),
    'HS256 by the public key without its last line break': asHs(publicKey.trimEnd()),
    'HS256 by the public key with other line breaks': asHs(publicKey.replaceAll('\n', '\r\n')),
    'HS256 by the public key as DER': asHs(key.export({ type: 'spki', format: 'der' })),
    'HS256 by the public key as JWK': asHs(JSON.stringify(jwk)),
    'HS512 by the public key': forged(of, { header: { alg: 'HS512' }, sign: hmac(publicKey, 'sha512') }),
    'the header of HS256 on our own signature': forged(of, { header: { alg: 'HS256' } }),
    'the header of RS512 on our own signature': forged(of, { header: { alg: 'RS512' } }),
    'the header of the other kind of key': forged(of, { header: { alg: of.name === 'RS256' ? 'ES256' : 'RS256' } }),
  };
}

function byTheirOwnKey(of: Target): Attacks {
  const url = 'https://attacker.invalid/keys.json';
  const rs = { alg: 'RS256' };
  const es = { alg: 'ES256' };
  const byRsa = (header: object) => forged(of, { header: { ...rs, ...header }, sign: rsa(rsaKeys.privateKey) });
  const byEc = (header: object) => forged(of, { header: { ...es, ...header }, sign: ecdsa(ecKeys.privateKey) });
  const certificate = base64url(randomBytes(300));
  return {
    'RS256 by a key of theirs': byRsa({}),
    'ES256 by a key of theirs': byEc({}),
    'jwk with a key of theirs (RS256)': byRsa({ jwk: rsaKeys.publicKey.export({ format: 'jwk' }) }),
    'jwk with a key of theirs (ES256)': byEc({ jwk: ecKeys.publicKey.export({ format: 'jwk' }) }),
    'jwk with a secret of theirs': forged(of, { header: { alg: 'HS256', jwk: { kty: 'oct', k: 'c2VjcmV0' } }, sign: hmac('secret') }),
    'jku that leads to a key of theirs': byRsa({ jku: url, kid: 'theirs' }),
    'x5u that leads to a key of theirs': byRsa({ x5u: url }),
    'x5c with a certificate of theirs': byRsa({ x5c: [certificate], x5t: certificate.slice(0, 27) }),
    'jku on a token of ours': forged(of, { header: { jku: url } }),
    'x5u on a token of ours': forged(of, { header: { x5u: url } }),
    'jwk on a token of ours': forged(of, { header: { jwk: ecKeys.publicKey.export({ format: 'jwk' }) } }),
    'x5c on a token of ours': forged(of, { header: { x5c: [certificate] } }),
  }; // prettier-ignore
}

function keyIds(of: Target): Attacks {
  const kid = of.header.kid ?? '';
  const ids = ['../../../../../../dev/null', '/dev/null', '/etc/hostname', "' or '1'='1", "x' union select 'secret' --", '\0', `${kid}\0`, `${kid} `, kid.slice(1), `x${kid}`, '', '*', '%', 'https://attacker.invalid/', '$(id)', '|id', '__proto__', 'constructor', 'another', null, 0, true, [kid], { kid }, 'x'.repeat(4000), undefined]; // prettier-ignore
  const each = ids.map((id) => [
    `kid ${id === undefined ? 'missing' : JSON.stringify(id).slice(0, 40)}`,
    forged(of, { header: { kid: id } }),
  ]);
  return {
    ...(Object.fromEntries(each) as Attacks),
    'kid of an empty file, by an empty key': forged(of, { header: { alg: 'HS256', kid: '/dev/null' }, sign: hmac('') }),
    'kid of a row of theirs, by its key': forged(of, { header: { alg: 'HS256', kid: "x' union select 'secret' --" }, sign: hmac('secret') }), // prettier-ignore
  };
}

function times(of: Target): Attacks {
  const given = (claims: object) => forged(of, { claims });
  return {
    'expired a second ago': given({ iat: now() - 100, exp: now() - 1 }),
    'expired right now': given({ iat: now() - 100, exp: now() }),
    'expired a year ago': given({ iat: now() - 31_536_100, exp: now() - 31_536_000 }),
    'expired, with an exp of text': given({ exp: String(now() + 60) }),
    'without exp': given({ exp: undefined }),
    'exp null': given({ exp: null }),
    'exp zero': given({ exp: 0 }),
    'exp negative': given({ exp: -1 }),
    'exp in a list': given({ exp: [now() + 60] }),
    'exp in milliseconds': given({ exp: Date.now() + 60_000 }),
    'exp beyond all time': given({ exp: 1e308 }),
    'exp in ten years': given({ exp: now() + 315_360_000 }),
    'exp an hour off': given({ exp: now() + 3600 }),
    'made in an hour': given({ iat: now() + 3600, exp: now() + 3660 }),
    'made in ten years': given({ iat: now() + 315_360_000, exp: now() + 315_360_060 }),
    'made before all time': given({ iat: -1e308 }),
    'made an hour ago': given({ iat: now() - 3600 }),
    'without iat': given({ iat: undefined }),
    'iat of text': given({ iat: String(now()) }),
    'not good for a minute yet': given({ nbf: now() + 60 }),
    'nbf in ten years': given({ nbf: now() + 315_360_000 }),
    'nbf of text': given({ nbf: 'tomorrow' }),
  };
}

function audiences(of: Target): Attacks {
  const values = ['somebody', '', 'KEYFRAME', 'keyframe ', 'keyframe/', 'https://keyframe', null, undefined, 0, true, {}, [], ['somebody'], ['some', 'body'], [['keyframe']], { 0: 'keyframe' }]; // prettier-ignore
  const each = values.flatMap((value) => [
    [`aud ${JSON.stringify(value)}`, forged(of, { claims: { aud: value } })],
    [`iss ${JSON.stringify(value)}`, forged(of, { claims: { iss: value } })],
  ]);
  return { ...(Object.fromEntries(each) as Attacks), 'iss in a list': forged(of, { claims: { iss: ['keyframe'] } }) };
}

/** Changed after it was signed, and signed by us for what is nobody's session. */
function tampered(of: Target): Attacks {
  const [header, payload, signature] = partsOf(of.good);
  const changed = (claims: object) =>
    `${header}.${base64url(JSON.stringify({ ...of.claims, ...claims }))}.${signature}`;
  const raw = (text: string) => `${header}.${base64url(text)}.${signature}`;
  return {
    'a changed role': changed({ role: 'ADMIN' }),
    'a changed sub': changed({ sub: randomUUID() }),
    'a changed sid': changed({ sid: randomUUID() }),
    'a changed exp': changed({ exp: now() + 6000 }),
    'an added scope': changed({ scope: '*' }),
    'another order of its claims': raw(JSON.stringify(Object.fromEntries(Object.entries(of.claims).reverse()))),
    'claims twice': raw(`${JSON.stringify(of.claims).slice(0, -1)},"role":"ADMIN"}`),
    'a space in its claims': raw(JSON.stringify(of.claims, null, 1)),
    'a changed header': `${base64url(JSON.stringify({ ...of.header, more: 1 }))}.${payload}.${signature}`,
    'the signature of another token': `${header}.${payload}.${partsOf(forged(of))[2]}`,
    'header and claims exchanged': `${payload}.${header}.${signature}`,
    'another sub, signed by us': forged(of, { claims: { sub: randomUUID() } }),
    'another sid, signed by us': forged(of, { claims: { sid: randomUUID() } }),
    'a sid in a list, signed by us': forged(of, { claims: { sid: [of.claims['sid']] } }),
    'a sub of SQL, signed by us': forged(of, { claims: { sub: "' or 1=1 --" } }),
    'a sid with a line break, signed by us': forged(of, { claims: { sid: `${of.claims['sid']}\n` } }),
    'claims of a prototype, signed by us': token(of.header, `{"__proto__":${JSON.stringify(of.claims)}}`, of.sign),
  };
}

function signatures(of: Target): Attacks {
  const [header, payload, signature] = partsOf(of.good);
  const bytes = Buffer.from(signature, 'base64url');
  const others: Record<string, Buffer> = {
    'of one byte': Buffer.alloc(1),
    'of 32 zeros': Buffer.alloc(32),
    'of 64 zeros (r = s = 0)': Buffer.alloc(64),
    'of 256 zeros': Buffer.alloc(256),
    'of 64 ones': Buffer.alloc(64, 0xff),
    'of r = 0': Buffer.concat([Buffer.alloc(32), bytes.subarray(32, 64)]),
    'of s = 0': Buffer.concat([bytes.subarray(0, 32), Buffer.alloc(32)]),
    'of r = s = 1': Buffer.from(`${'0'.repeat(63)}1`.repeat(2), 'hex'),
    'of r = s = the order of the curve': Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2), 'hex'),
    'in DER of r = s = 0': Buffer.from('3006020100020100', 'hex'),
    'that lacks its last byte': bytes.subarray(0, -1),
    'that lacks its first byte': bytes.subarray(1),
    'cut in half': bytes.subarray(0, bytes.length / 2),
    'doubled': Buffer.concat([bytes, bytes]),
    'with a zero after it': Buffer.concat([bytes, Buffer.alloc(1)]),
    'with a zero before it': Buffer.concat([Buffer.alloc(1), bytes]),
    'backwards': Buffer.from(bytes).reverse(),
    'with one bit changed': Buffer.from(bytes.map((byte, at) => (at === 7 ? byte ^ 1 : byte))),
    'of chance': randomBytes(bytes.length),
  }; // prettier-ignore
  const each = Object.entries(others).map(([name, other]) => [`a signature ${name}`, `${header}.${payload}.${base64url(other)}`]); // prettier-ignore
  return Object.fromEntries(each) as Attacks;
}

function headers(of: Target): Attacks {
  const given = (header: object) => forged(of, { header });
  const claims = JSON.stringify({ ...of.claims, iat: now(), exp: now() + 60 });
  const bare = `${base64url(JSON.stringify({ ...of.header, b64: false, crit: ['b64'] }))}.${claims.replaceAll('.', '')}`;
  return {
    'crit of exp': given({ crit: ['exp'], exp: now() + 60 }),
    'crit of nothing': given({ crit: [] }),
    'crit of text': given({ crit: 'exp' }),
    'crit of what nobody knows': given({ crit: ['x-unknown'], 'x-unknown': true }),
    'b64 false': given({ b64: false }),
    'b64 false and critical': given({ b64: false, crit: ['b64'] }),
    'b64 false with bare claims': `${bare}.${of.sign(bare)}`,
    'zip': token({ ...of.header, zip: 'DEF' }, deflateRawSync(claims), of.sign),
    'cty JWT around a good token': token({ ...of.header, cty: 'JWT' }, of.good, of.sign),
    'a good token in a token': token(of.header, of.good, of.sign),
    'enc as of a JWE': given({ enc: 'A256GCM' }),
    'typ of a refresh token': given({ typ: 'refresh+jwt' }),
    'typ JOSE': given({ typ: 'JOSE' }),
    'a header of text': token('HS256', of.claims, of.sign),
    'a header of null': token('null', of.claims, of.sign),
    'a header of a list': token('[]', of.claims, of.sign),
    'an empty header': token({}, of.claims, of.sign),
    'a header of a prototype': token(`{"__proto__":${JSON.stringify(of.header)}}`, of.claims, of.sign),
    'a JWE': [{ alg: 'dir', enc: 'A256GCM' }, '', 'iv', 'text', 'tag'].map((part) => base64url(JSON.stringify(part))).join('.'),
    'a JWE around no key': `${base64url('{"alg":"dir","enc":"A128CBC-HS256"}')}..${'A'.repeat(22)}.${'A'.repeat(60)}.${'A'.repeat(22)}`,
  }; // prettier-ignore
}

function payloads(of: Target): Attacks {
  const signed = (payload: string | Buffer) => token(of.header, payload, of.sign);
  const claims = JSON.stringify({ ...of.claims, iat: now(), exp: now() + 60 });
  return {
    'claims of plain text': signed('hello'),
    'claims of a number': signed('1'),
    'claims of null': signed('null'),
    'claims of true': signed('true'),
    'claims in a list': signed(`[${claims}]`),
    'no claims': signed(''),
    'empty claims': signed('{}'),
    'claims with a comma too many': signed(claims.replace('}', ',}')),
    'claims with more behind them': signed(`${claims}{}`),
    'claims in UTF-16': signed(Buffer.from(claims, 'utf16le')),
    'claims with a byte order mark': signed(`\ufeff${claims}`),
    'claims of half a text': signed(claims.slice(0, -10)),
    'claims of 6,000 brackets': signed('['.repeat(6000)),
  };
}

function encodings(of: Target): Attacks {
  const { good } = of;
  const [header, payload, signature] = partsOf(good);
  const standard = token(of.header, { ...of.claims, more: '\u00ff\u00fe\u00fb'.repeat(9) }, of.sign);
  return {
    'nothing but words': 'garbage',
    'two dots': '..',
    'a refresh token': of.refreshToken,
    'more behind it': `${good}x`,
    'a part behind it': `${good}.${signature}`,
    'a dot behind it': `${good}.`,
    'a dot before it': `.${good}`,
    'a comma behind it': `${good},`,
    'itself twice': `${good},${good}`,
    'words behind it': `${good} and more`,
    'a line break, encoded': `${good}%0a`,
    'a null, encoded': `${good}%00`,
    'dots, encoded': good.replaceAll('.', '%2e'),
    'padding': [header, payload, signature].map((part) => `${part}==`).join('.'),
    'padding of the signature': `${good}=`,
    'the standard alphabet': standard.replaceAll('-', '+').replaceAll('_', '/').concat('/'),
    'a space within': `${header}. ${payload}.${signature}`,
    'a space in its claims': `${header}.${payload.slice(0, 9)} ${payload.slice(9)}.${signature}`,
    'quotes': `"${good}"`,
    'upper case': good.toUpperCase(),
    'JSON serialization': JSON.stringify({ protected: header, payload, signature }),
    'hexadecimal': Buffer.from(good).toString('hex'),
    'base64 of itself': base64url(good),
    '8,000 letters': 'x'.repeat(8000),
    '8,000 dots': '.'.repeat(8000),
    'a claim of 6,000 letters, changed': `${header}.${base64url(JSON.stringify({ ...of.claims, more: 'x'.repeat(6000) }))}.${signature}`,
  }; // prettier-ignore
}

function schemes({ good }: Target): Attacks {
  return {
    'no scheme': good,
    'no token': 'Bearer',
    'another scheme': `Token ${good}`,
    'the scheme JWT': `JWT ${good}`,
    'the scheme Basic': `Basic ${good}`,
    'the scheme Basic around it': `Basic ${Buffer.from(`alice:${good}`).toString('base64')}`,
    'a colon after the scheme': `Bearer: ${good}`,
    'two spaces after the scheme': `Bearer  ${good}`,
    'a tab after the scheme': `Bearer\t${good}`,
    'no space after the scheme': `Bearer${good}`,
    'an equals sign after the scheme': `Bearer=${good}`,
    'the scheme twice': `Bearer Bearer ${good}`,
    'a bad one before it': `Bearer garbage ${good}`,
    'a bad one before it, with a comma': `Bearer garbage, Bearer ${good}`,
    'a parameter': `Bearer token="${good}"`,
  };
}
