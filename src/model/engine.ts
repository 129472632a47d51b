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

/** What an answer is made with. `Vlm` tells of each. */
export interface Engine {
  readonly backend: Backend;
  readonly config: VlmSpec;
  readonly tokenizer: Tokenizer;
  readonly decoder: Decoder;
  encodeImage(image: ImageInput, options?: EncodeOptions): Promise<EncodedImage>;
  room(work: Work): Room;
  embed(ids: readonly number[], work?: Work): Tensor<'f32'>;
  logits(hidden: Tensor<'f32'>, work?: Work): Tensor<'f32'>;
}
