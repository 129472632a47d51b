/**
 * One contender from the start of its process to the first result of a product; prints what that took, in milliseconds. Plain
 * JavaScript, as loading types would cost more than all the rest. Arguments: ours FOLDER | jax-js | node.
 */
import { pathToFileURL } from 'node:url';

const [ROWS, K, N] = [8, 256, 256];
const [contender, folder] = process.argv.slice(2);
const [x, w] = [new Float32Array(ROWS * K).fill(0.5), new Float32Array(N * K).fill(2)];

const first = { ours, 'jax-js': jax, node: () => undefined }[contender];
const y = await first();
if (y && (y.length !== ROWS * N || y.some((value) => value !== K))) throw new Error(`${contender}: the product is wrong`);
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ cpu: (user + system) / 1000, wall: performance.now() }));
process.exit(0);

/** By the subpaths that an application imports, of a folder with a package in it. */
async function ours() {
  const load = (name) => import(new URL(`dist/${name}.js`, pathToFileURL(`${folder}/`)).href);
  const [{ linear }, { createWasmBackend }] = [await load('ops'), await load('backend/wasm')];
  const backend = await createWasmBackend();
  const weight = await backend.pack({ data: w, shape: [N, K] });
  const result = backend.empty({ dtype: 'f32', shape: [ROWS, N] });
  backend.run(linear, { x: backend.upload(x, [ROWS, K]), weight, y: result }, {});
  return backend.read(result);
}

async function jax() {
  const { init, defaultDevice, numpy } = await import('@jax-js/jax');
  await init('wasm');
  defaultDevice('wasm');
  return numpy.matmul(numpy.array(x).reshape([ROWS, K]), numpy.array(w).reshape([N, K]).transpose()).data();
}
