import type { Activation } from '../../ops/activation.ts';
import type { JsonObject } from '../files/json.ts';
import type { DecoderSpec } from '../stack/decoder.ts';
import type { TowerSpec } from '../stack/tower-spec.ts';

/** Two linear layers with an activation between them; names without `.weight` and `.bias`. */
export interface ConnectorSpec {
  inputs: number;
  outputs: number;
  activation: Activation;
  names: readonly [first: string, second: string];
}

/** What a family's `config.json` says of a model, in the words of this package. */
export interface VlmSpec {
  /** `config.json` as it is: methods find their settings there. */
  json: JsonObject;
  tower: TowerSpec;
  /** Whether the class row of the tower goes to the connector with the patches. */
  keepsClassRow: boolean;
  connector: ConnectorSpec;
  decoder: DecoderSpec;
  vocabSize: number;
  maxPositions: number;
  /** The head is the table of word embeddings. */
  tiedHead: boolean;
  imageTokenId: number;
  bosTokenId: number;
  eosTokenIds: readonly number[];
  /** With `<image>` and `{question}` in it. */
  promptTemplate: string;
  /** Where checkpoints keep the parts: prefixes of tensor names, and names, one set for each layout in use. */
  layouts: readonly PartNames[];
  /** Whether a tensor of the parts is one that inference has no use for; its name as it stands in the checkpoint. */
  ignores(name: string, layout: PartNames): boolean;
}

export interface PartNames {
  tower: string;
  connector: string;
  decoder: string;
  /** Of the decoder. */
  embeddings: string;
  head: string;
}
