/** A question about a picture, answered in the page. Open with: node examples/browser/serve.js */
import { loadModel, selectBackend, trainedMethod } from 'skip-vision';

const element = (id) => document.getElementById(id);

async function start() {
  const backend = await selectBackend();
  const rejected = backend.rejected.map(({ name, reason }) => `; not ${name}: ${reason}`).join('');
  const folder = new URL('../tiny-vlm/skip/', import.meta.url);
  const model = await loadModel(folder, { backend, onProgress: ({ file }) => say(`loading ${file}`) });
  say(`${backend.name} (${backend.description})${rejected}`);
  element('file').addEventListener('change', ({ target }) => {
    if (target.files[0]) element('picture').src = URL.createObjectURL(target.files[0]);
  });
  element('form').addEventListener('submit', (event) => {
    event.preventDefault();
    void ask(model);
  });
  element('ask').disabled = false;
}

async function ask(model) {
  element('ask').disabled = true;
  try {
    const blob = await (await fetch(element('picture').src)).blob();
    // as the file has it: no colour management, no blending with transparency
    const image = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
    const onToken = ({ text }) => {
      element('answer').value = text;
    };
    // the checkpoint was trained with Skip-Vision, so that is the method it answers with
    const { text, stats } = await model.generate({
      image,
      question: element('question').value,
      method: trainedMethod(model.config),
      onToken,
    });
    element('answer').value = text;
    showCost(stats);
  } catch (error) {
    element('answer').value = error.message;
    element('cost').hidden = true;
  } finally {
    element('ask').disabled = false;
  }
}

function showCost(stats) {
  const rows = [
    ['rows attended', stats.promptRows],
    ['rows in the FFN', stats.ffnRows],
    ['prefill FLOPs', stats.prefillFlops],
    ['prefill ms', stats.prefillMs.toFixed(1)],
    ['ms per token', stats.decodeMsPerToken.toFixed(2)],
    ['KV bytes before eviction', stats.kvBytesBefore],
    ['KV bytes after', stats.kvBytesAfter],
  ];
  const body = element('cost').tBodies[0];
  body.replaceChildren();
  for (const [name, value] of rows) {
    const row = body.insertRow();
    row.append(Object.assign(document.createElement('th'), { scope: 'row', textContent: name }));
    row.insertCell().textContent = value;
  }
  element('cost').hidden = false;
}

function say(text) {
  element('status').textContent = text;
}

start().catch((error) => say(error.message));
