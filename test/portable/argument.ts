/** What a bundle is given: its first argument, or in a page the URL's `?given=`. */
export function givenArgument(): string {
  const { process, location } = globalThis as { process?: { argv: string[] }; location?: Location };
  const given = process ? process.argv[2] : new URLSearchParams(location?.search).get('given');
  if (!given) throw new Error('the first argument, or ?given= in a page, is missing');
  return given;
}
