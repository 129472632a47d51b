/**
 * Lets plain Node import what the bundler inlines: `.wgsl` as kernels, `.wasm` and `.deflate` as bytes.
 * Use: node --import ./test/assets-hook.mjs script.ts
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { wgslModule } from '../build/wgsl.ts';

/** Decodes without Buffer, so that the module text is what a browser build has too. */
const bytesModule = (file) =>
  `export default Uint8Array.from(atob(${JSON.stringify(readFileSync(file).toString('base64'))}), (c) => c.charCodeAt(0));`;

registerHooks({
  load(url, context, nextLoad) {
    const path = url.split('?')[0];
    if (path.endsWith('.wgsl')) return { format: 'module', shortCircuit: true, source: wgslModule(fileURLToPath(path)) };
    if (/\.(wasm|deflate)$/.test(path)) return { format: 'module', shortCircuit: true, source: bytesModule(fileURLToPath(path)) };
    return nextLoad(url, context);
  },
});
