import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';

const TINY = 'examples/tiny-vlm';

async function json(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}

describe('tiny-vlm', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = new Tokenizer(await json(`${TINY}/skip/tokenizer.json`), await json(`${TINY}/skip/tokenizer_config.json`));
  });

  test('encodes with the special tokens of the text and no others', () => {
    expect(tokenizer.encode('<bos> user : <image> what is the zebra ?')).toEqual([1, 5, 7, 4, 10, 11, 13, 3, 9]);
    expect(tokenizer.encode('a<image>a')).toEqual([22, 4, 22]);
    expect(tokenizer.encode('')).toEqual([]);
  });

  test('decodes every stored answer exactly', async () => {
    const lines = (await readFile(`${TINY}/eval/questions.jsonl`, 'utf8')).trim().split('\n');
    const answers = lines.map((line) => (JSON.parse(line) as { answer: string }).answer);
    expect(answers.length).toBeGreaterThan(100);
    for (const answer of answers) expect(tokenizer.decode(tokenizer.encode(answer))).toBe(answer);
  });

  test('special tokens are skipped on request; ids without a token have no text', () => {
    expect(tokenizer.decode([1, 35, 2])).toBe('<bos> cat <eos>');
    expect(tokenizer.decode([1, 35, 2], { skipSpecial: true })).toBe('cat');
    expect(tokenizer.decode([35, 66, 10_000, -1])).toBe('cat');
    expect(tokenizer.decode([])).toBe('');
  });

  test('tokenId', () => {
    expect(tokenizer.tokenId('<eos>')).toBe(2);
    expect(tokenizer.tokenId('cat')).toBe(35);
    expect(tokenizer.tokenId('zebra')).toBeUndefined();
  });
});

test('byte-level BPE spells any text', () => {
  // GPT-2's alphabet: printable bytes stand for themselves, the others for letters from U+0100 on.
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const vocab: Record<string, number> = {};
  for (let byte = 0, next = 256; byte < 256; byte++) vocab[String.fromCharCode(printable(byte) ? byte : next++)] = byte;
  const tokenizer = new Tokenizer({
    model: { type: 'BPE', vocab: { ...vocab, he: 256 }, merges: ['h e'] },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    decoder: { type: 'ByteLevel' },
  });
  expect(tokenizer.encode('he €')).toEqual([256, 32, 0xe2, 0x82, 0xac]);
  expect(tokenizer.decode(tokenizer.encode('hello, wörld 🦊\n'), { skipSpecial: true })).toBe('hello, wörld 🦊\n');
});

test('SentencePiece style: spaces are part of words, unknown letters fall back to bytes', () => {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', ...bytes, '▁', 'a', 'c', 't', '▁a', '▁c', '▁ca', '▁cat'];
  const tokenizer = new Tokenizer({
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ['▁ a', '▁ c', '▁c a', '▁ca t'],
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
  });
  expect(tokenizer.encode('a cat')).toEqual([tokens.indexOf('▁a'), tokens.indexOf('▁cat')]);
  expect(tokenizer.decode(tokenizer.encode('a cat €'))).toBe('a cat €');
});

test.each<[string, unknown, unknown, string]>([
  ['no object', [], {}, 'tokenizer.json'],
  ['no model', { added_tokens: [] }, {}, 'tokenizer.json'],
  ['an unknown model', { model: { type: 'Magic' } }, {}, 'tokenizer.json'],
  ['an unknown decoder', { model: { type: 'WordLevel', vocab: {} }, decoder: { type: 'Magic' } }, {}, 'tokenizer.json'],
  ['a config that is no object', { model: { type: 'WordLevel', vocab: {} } }, 'x', 'tokenizer_config.json'],
])('refuses %s', (_, tokenizerJson, config, argument) => {
  expect(() => new Tokenizer(tokenizerJson, config)).toThrow(expect.objectContaining({ code: 'invalid-checkpoint', argument }));
});

test('an unknown word needs a token for unknown words', () => {
  const model = { type: 'WordLevel', vocab: { a: 0, '[UNK]': 1 } };
  expect(new Tokenizer({ model: { ...model, unk_token: '[UNK]' } }).encode('b')).toEqual([1]);
  expect(() => new Tokenizer({ model }).encode('b')).toThrow(expect.objectContaining({ code: 'invalid-argument', argument: 'text' }));
});
