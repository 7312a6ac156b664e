'use strict';
// Names and labels are other people's text: they go into the page as text, never as markup.
const find = (selector, within = document) => within.querySelector(selector);
const copyOf = (id) => find(id).content.firstElementChild.cloneNode(true);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const silent = 'The server does not answer.';
const shownLabels = 10;
const fewLabels = 8;
const sentAtOnce = 2;
const waiting = [];
let sending = 0;

async function showModel() {
  const { graph, labels, made, tested } = await (await fetch('model')).json();
  find('#model').textContent = made ? `${graph}, made ${made.slice(0, 10)}` : graph;
  if (tested) {
    const [low, high] = tested.interval;
    const range = `${percent(low).replace(' %', '')} to ${percent(high)}`;
    say('#tested', `Right for ${percent(tested.share)} of ${tested.images} test pictures (95 % range: ${range})`);
  }
  const count = `${labels.length} ${labels.length === 1 ? 'label' : 'labels'}`;
  if (labels.length > fewLabels) {
    find('#many').hidden = false;
    say('#many summary', `${count}: ${labels.slice(0, fewLabels).join(', ')}, …`);
    say('#many p', labels.join(', '));
  } else {
    say('#few', `${count}: ${labels.join(', ')}`);
  }
}

function say(selector, text, within = document) {
  const place = find(selector, within);
  place.textContent = text;
  place.hidden = false;
}

function add(files) {
  for (const file of files) {
    const card = copyOf('#card');
    const picture = find('img', card);
    picture.src = URL.createObjectURL(file);
    picture.onload = () => URL.revokeObjectURL(picture.src);
    picture.onerror = () => { picture.remove(); };  // no picture; or HEIC, say, which not every browser shows
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
    await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error('It cannot be read. Is it a folder?'); });
    const response = await fetch('label', { method: 'POST', body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    show(answer, card);
  } catch (error) {
    card.className = 'failed';
    find('h2', card).textContent = error instanceof TypeError ? silent : error.message;
  }
}

function show(answer, card) {
  const isSure = answer.clear && !answer.unsure;
  const named = answer.closest.slice(0, answer.clear ? 1 : 2).map((each) => each.label);
  card.className = isSure ? 'done' : 'done unsure';
  find('h2', card).textContent = isSure ? answer.label : `Not sure: ${named.join(' or ')}?`;
  const shown = answer.unsure ? answer.closest : answer.labels.slice(0, shownLabels);
  for (const { label, score } of shown) {
    const bar = copyOf('#bar');
    find('.label', bar).textContent = find('.label', bar).title = label;
    find('.score', bar).textContent = percent(score);
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
showModel().catch(() => say('#model', silent));
