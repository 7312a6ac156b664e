'use strict';
// Names and labels are other people's text: they go into the page as text, never as markup.
const find = (selector, within = document) => within.querySelector(selector);
const copyOf = (id) => find(id).content.firstElementChild.cloneNode(true);
const shownLabels = 10;
const sentAtOnce = 2;
const waiting = [];
let sending = 0;

async function showModel() {
  const { graph, labels } = await (await fetch('model')).json();
  const some = labels.slice(0, 8).join(', ') + (labels.length > 8 ? ', …' : '');
  find('#model').textContent = `${labels.length} labels: ${some}`;
  find('#model').title = graph;
}

function add(files) {
  for (const file of files) {
    const card = copyOf('#card');
    const picture = find('img', card);
    picture.src = URL.createObjectURL(file);
    picture.onload = () => URL.revokeObjectURL(picture.src);
    picture.onerror = () => { picture.dataset.broken = ''; };  // HEIC, say, which not every browser shows
    find('h2', card).textContent = 'Looking …';
    find('.name', card).textContent = file.name;
    card.className = 'waiting';
    find('#results').prepend(card);
    waiting.push([file, card]);
  }
  sendNext();
}

function sendNext() {
  while (sending < sentAtOnce && waiting.length) {
    sending += 1;
    label(...waiting.shift()).finally(() => { sending -= 1; sendNext(); });
  }
}

async function label(file, card) {
  try {
    const response = await fetch('label', { method: 'POST', body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    show(answer, card);
  } catch (error) {
    card.className = 'failed';
    find('h2', card).textContent = error instanceof TypeError ? 'The server does not answer.' : error.message;
  }
}

function show(answer, card) {
  card.className = 'done';
  find('h2', card).textContent = answer.unsure ? 'Unsure' : answer.label;
  for (const { label, score } of answer.labels.slice(0, shownLabels)) {
    const bar = copyOf('#bar');
    find('.label', bar).textContent = find('.label', bar).title = label;
    find('.score', bar).textContent = `${(100 * score).toFixed(1)} %`;
    find('ol', card).append(bar);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      find('.fill', bar).style.width = `${100 * score}%`;
    }));
  }
}

const drop = find('#drop');
for (const event of ['dragover', 'drop']) {
  window.addEventListener(event, (e) => e.preventDefault());
}
window.addEventListener('dragenter', () => drop.classList.add('over'));
window.addEventListener('dragleave', (e) => { if (!e.relatedTarget) drop.classList.remove('over'); });
window.addEventListener('drop', (e) => { drop.classList.remove('over'); add(e.dataTransfer.files); });
window.addEventListener('paste', (e) => add(e.clipboardData.files));
find('#files').addEventListener('change', (e) => { add(e.target.files); e.target.value = ''; });
showModel();
