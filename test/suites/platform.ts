/** The run is on the platform that it claims to be on, and has the backends it should: no more, so that none goes untested. */
import { selectBackend } from '../../src/backend/select.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { deepEqual, equal, ok, type Suite, throwsCode } from '../harness.ts';
import { detectRuntime } from '../platform.ts';

export function platformSuite(t: Suite): void {
  const { platform } = t;
  const names = platform.backends.map(({ name }) => name);
  const kinds = new Set(platform.backends.map(({ kind }) => kind));

  t.test(`the runtime is ${platform.runtime} ${platform.version}${platform.isolated ? '' : ', not isolated'}`, () => {
    const { runtime, version, isolated } = detectRuntime();
    equal(runtime, platform.runtime, 'runtime');
    ok(version.startsWith(platform.version), `version is ${version}, expected ${platform.version}`);
    equal(isolated, platform.isolated, 'isolated');
  });

  for (const { name, kind, create } of platform.backends) {
    t.test(`${name} is what it says`, async () => {
      await using backend = await create();
      equal(backend.name, kind, 'name');
      ok(backend.description, 'the backend has no description');
      deepEqual(backend.rejected, [], 'rejected');
      if (kind === 'wasm') {
        ok(backend.features.has('simd'), 'simd is no feature');
        equal(backend.features.has('relaxed-simd'), name === 'wasm relaxed', 'relaxed-simd');
      }
      const driver = { 'webgpu lavapipe': /llvmpipe/, 'webgpu swiftshader': /swiftshader/i }[name];
      if (driver) ok(driver.test(backend.description), `the adapter is "${backend.description}"`);
      if (driver) ok(backend.features.has('software-adapter'), 'software-adapter is no feature');
    });
  }

  if (kinds.has('wasm') && !names.includes('wasm relaxed')) {
    t.test('relaxed SIMD is refused here, and "auto" takes simd128', async () => {
      await throwsCode(() => createWasmBackend({ variant: 'relaxed' }), 'unsupported');
      await using backend = await createWasmBackend();
      equal(backend.features.has('relaxed-simd'), false, 'relaxed-simd');
    });
  }
  selectionTests(t, kinds);
}

function selectionTests(t: Suite, kinds: ReadonlySet<string>): void {
  for (const kind of ['webgpu', 'wasm'] as const) {
    if (kinds.has(kind)) {
      t.test(`selectBackend takes ${kind} when it is preferred`, async () => {
        await using backend = await selectBackend({ prefer: [kind, 'reference'] });
        equal(backend.name, kind, 'name');
        deepEqual(backend.rejected, [], 'rejected');
      });
    } else {
      t.test(`selectBackend falls to reference where ${kind} does not work, and says why`, async () => {
        const told: string[] = [];
        await using backend = await selectBackend({
          prefer: [kind, 'reference'],
          onFallback: ({ name, reason }) => void told.push(`${name}: ${reason}`),
        });
        equal(backend.name, 'reference', 'name');
        const [rejection] = backend.rejected;
        equal(rejection?.name, kind, 'the rejected backend');
        ok(rejection.reason.length > 10, `the reason is "${rejection.reason}"`);
        deepEqual(told, [`${kind}: ${rejection.reason}`], 'what onFallback was told');
        await throwsCode(() => selectBackend({ prefer: kind }), 'no-backend', { argument: 'prefer' });
      });
    }
  }
  t.test('selectBackend takes the fastest backend that works here, and never a software GPU by itself', async () => {
    await using backend = await selectBackend();
    const software = backend.rejected.some(({ name, reason }) => name === 'webgpu' && reason.includes('software adapter'));
    if (backend.name === 'webgpu') equal(backend.features.has('software-adapter'), false, 'software-adapter');
    else equal(backend.name, kinds.has('wasm') ? 'wasm' : 'reference', 'name');
    if (kinds.has('webgpu') && backend.name !== 'webgpu') ok(software, `webgpu was rejected for: ${JSON.stringify(backend.rejected)}`);
  });
  t.test('selectBackend refuses a name nobody knows', () =>
    throwsCode(() => selectBackend({ prefer: 'cuda' as 'wasm' }), 'unknown-name').then(() => {}),
  );
}
