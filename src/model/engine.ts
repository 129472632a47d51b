import type { Backend, SignalOption } from '../backend/backend.ts';
import type { Tensor } from '../backend/tensor.ts';
import type { VlmSpec } from './families/spec.ts';
import type { ImageInput } from './image/image.ts';
import type { Decoder } from './stack/decoder.ts';
import type { Method, Room } from './stack/hooks.ts';
import type { Part } from './stack/rows.ts';
import type { Work } from './stack/work.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** An image as a method lets it enter the sequence. Made once, usable for many questions with the same method. */
export interface EncodedImage extends Disposable {
  readonly parts: readonly Part[];
  /** Key of the method that composed it. */
  readonly method: string;
  /** What it cost. */
  readonly flops: number;
}

export interface EncodeOptions extends SignalOption {
  method?: Method;
}

/** What an answer is made with. */
export interface Engine {
  readonly backend: Backend;
  readonly config: VlmSpec;
  readonly tokenizer: Tokenizer;
  readonly decoder: Decoder;
  /** Runs tower, connector and the method's compose on one picture. Dispose the result. */
  encodeImage(image: ImageInput, options?: EncodeOptions): Promise<EncodedImage>;
  /** What a run of a method may use here. */
  room(work: Work): Room;
  /** Rows of the word embeddings [n, D]; the caller disposes them. */
  embed(ids: readonly number[], work?: Work): Tensor<'f32'>;
  /** hidden [n, D] after the final norm -> logits [n, V]; the caller disposes them. */
  logits(hidden: Tensor<'f32'>, work?: Work): Tensor<'f32'>;
}
