/** The toy checkpoint shrunk to a few thousand random weights: for tests that generate very often. Its answers mean nothing. */
import { readFileSync } from 'node:fs';
import { Random } from '../random.ts';
import { safetensorsFile } from './safetensors-file.ts';

const FOLDER = 'examples/tiny-vlm/skip';
/** Widths of the toy model and what becomes of them; 4 heads of 32 become 4 of 4, 145 positions 4 patches and the class row. */
const WIDTHS: Readonly<Record<number, number>> = { 96: 12, 384: 24, 128: 16, 64: 8, 352: 20, 145: 5 };
const narrow = (width: number) => WIDTHS[width] ?? width;

export function microModel(): Record<string, Uint8Array> {
  const json = (name: string) => JSON.parse(readFileSync(`${FOLDER}/${name}`, 'utf8')) as Record<string, never>;
  const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const { vision_config: vision, text_config: decoder, skip_vision: _, ...config } = json('config.json') as Record<string, object>;
  const size = { height: 16, width: 16 };
  const files = new Map<string, Uint8Array>([
    [
      'config.json',
      text({
        ...config,
        image_seq_length: 4,
        vision_config: { ...vision, hidden_size: 12, intermediate_size: 24, image_size: 16, num_hidden_layers: 2 },
        text_config: { ...decoder, hidden_size: 16, intermediate_size: 20, head_dim: 4, num_hidden_layers: 1 },
      }),
    ],
    ['preprocessor_config.json', text({ ...json('preprocessor_config.json'), size, crop_size: size })],
    ['model.safetensors', weights()],
  ]);
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) files.set(name, readFileSync(`${FOLDER}/${name}`));
  return Object.fromEntries(files);
}

function weights(): Uint8Array {
  const file = readFileSync(`${FOLDER}/model.safetensors`);
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))).toString()) as Record<string, { shape: number[] }>;
  const random = new Random(11);
  const entries = Object.entries(header).flatMap(([name, { shape }]) => {
    if (!shape || /^skip_vision|^vision_aux|language_model\.\S*layers\.[1-9]|vision_model\.\S*layers\.[2-9]/.test(name)) return [];
    const narrowed = shape.map(narrow);
    const values = random.normal(
      narrowed.reduce((a, b) => a * b),
      0.3,
    );
    return [[name, { dtype: 'F32', shape: narrowed, bytes: new Uint8Array(values.buffer) }] as const];
  });
  return safetensorsFile(Object.fromEntries(entries));
}
