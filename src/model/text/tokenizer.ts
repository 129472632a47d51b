import { Tokenizer as Library } from '@huggingface/tokenizers';
import { SkipVisionError } from '../../backend/errors.ts';
import * as field from '../../backend/fields.ts';
import { invalidCheckpoint, isObject } from '../files/json.ts';

export const TOKENIZER_FIELDS = {
  encode: { text: field.text },
  decode: {
    ids: field.list(field.integer()),
    options: field.optional(field.record<{ skipSpecial?: boolean }>({ skipSpecial: field.optional(field.boolean) })),
  },
  tokenId: { token: field.text },
};

/** Text to token ids and back, as the model's `tokenizer.json` says. */
export class Tokenizer {
  readonly #library: Library;

  /**
   * @param tokenizerJson parsed `tokenizer.json`
   * @param tokenizerConfig parsed `tokenizer_config.json`; an empty object when the model has none
   * @throws `invalid-checkpoint` when either is not what its name says.
   */
  constructor(tokenizerJson: unknown, tokenizerConfig: unknown = {}) {
    if (!isObject(tokenizerJson) || !isObject(tokenizerJson.model)) {
      throw invalidCheckpoint('tokenizer.json', 'tokenizer.json', 'without a "model"', 'a tokenizer of Hugging Face tokenizers');
    }
    if (!isObject(tokenizerConfig)) {
      throw invalidCheckpoint('tokenizer_config.json', 'tokenizer_config.json', 'no object', 'a JSON object');
    }
    // The library wants every part named, also those a file may leave out.
    const absent = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
    // For word-level models it looks for the token of unknown words in the wrong file.
    const unknown = typeof tokenizerJson.model.unk_token === 'string' ? { unk_token: tokenizerJson.model.unk_token } : {};
    try {
      this.#library = new Library({ ...absent, ...tokenizerJson }, { ...tokenizerConfig, ...unknown });
    } catch (cause) {
      const got = `not usable (${cause instanceof Error ? cause.message : String(cause)})`;
      throw invalidCheckpoint('tokenizer.json', 'tokenizer.json', got, 'a tokenizer of Hugging Face tokenizers', cause);
    }
  }

  /**
   * Token ids of a text. Special tokens written in the text are recognised; none are added.
   * @throws `invalid-argument` when a word is not in the vocabulary and there is no token for unknown words.
   */
  encode(text: string): number[] {
    field.checkFields('encode', { text }, TOKENIZER_FIELDS.encode);
    const { ids, tokens } = this.#library.encode(text, { add_special_tokens: false });
    const missing = (ids as (number | undefined)[]).indexOf(undefined);
    if (missing < 0) return ids;
    const got = JSON.stringify(tokens[missing]);
    throw new SkipVisionError('invalid-argument', `${got} is not in the vocabulary, and there is no token for unknown words`, {
      argument: 'text',
      got,
      expected: 'words of the vocabulary',
    });
  }

  /** Text of token ids. Ids outside the vocabulary (padding of the embedding table) have no text. */
  decode(ids: readonly number[], options: { skipSpecial?: boolean } = {}): string {
    field.checkFields('decode', { ids, options }, TOKENIZER_FIELDS.decode);
    const known = ids.filter((id) => this.#library.id_to_token(id) !== undefined);
    // The library refuses an empty list.
    return known.length === 0 ? '' : this.#library.decode(known, { skip_special_tokens: options.skipSpecial ?? false });
  }

  /** Id of a token by its exact text, added and special tokens included. */
  tokenId(token: string): number | undefined {
    field.checkFields('tokenId', { token }, TOKENIZER_FIELDS.tokenId);
    return this.#library.token_to_id(token);
  }
}
