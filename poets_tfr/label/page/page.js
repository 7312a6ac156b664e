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
const results = [];  // of all files, in the order in which they came; a `row` where it is there
const header = ['file', 'label', 'score', 'second_label', 'second_score', 'sure', 'error'];
let sending = 0;

async function showModel() {
  const { graph, labels, made, tested } = await (await fetch('model')).json();
  find('#model').textContent = made ? `${graph}, made ${made.slice(0, 10)}` : graph;
  if (tested) {
    const [low, high] = tested.interval;
    const range = `${percent(low).replace(' %', '')} to ${percent(high)}`;
    say('#tested', `Right for ${percent(tested.share)} of ${tested.images} test images (95 % range: ${range})`);
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
    const result = { name: file.name };
    results.push(result);
    waiting.push([file, card, result]);
  }
  count();
  sendNext();
}

function sendNext() {
  while (sending < sentAtOnce && waiting.length) {
    sending += 1;
    label(...waiting.shift()).finally(() => { sending -= 1; sendNext(); });
  }
}

async function label(file, card, result) {
  try {
    await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error('It cannot be read. Is it a folder?'); });
    const response = await fetch('label', { method: 'POST', body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    show(answer, card);
    const [best, second = { label: '', score: '' }] = answer.closest;
    const sure = isSure(answer) ? 'yes' : 'no';
    result.row = [result.name, best.label, best.score, second.label, second.score, sure, ''];
  } catch (error) {
    const said = error instanceof TypeError ? silent : error.message;
    card.className = 'failed';
    find('h2', card).textContent = said;
    result.row = [result.name, '', '', '', '', '', said];
  }
  count();
}

const finished = () => results.flatMap(({ row }) => (row ? [row] : []));
const isSure = (answer) => answer.clear && !answer.unsure;

function count() {
  const rows = finished();
  const unsure = rows.filter((row) => row[5] === 'no').length;
  const failed = rows.filter((row) => row[6]).length;
  const parts = [`${rows.length} of ${results.length} done`];
  if (unsure) parts.push(`${unsure} not sure`);
  if (failed) parts.push(`${failed} failed`);
  find('#so_far').hidden = !rows.length;
  find('#so_far p').textContent = parts.join(', ');
}

function download() {
  const rows = finished();
  const text = [header, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = 'labels.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// As poets_tfr/tables.py writes cells: no name can add a line or run in a spreadsheet.
function cell(value) {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  const escaped = value.replaceAll('\\', '\\\\').replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, escapeOf);
  const text = /^[=+\-@]/.test(escaped) ? `\\${escaped}` : escaped;
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function escapeOf(character) {
  const named = { '\t': '\\t', '\n': '\\n', '\r': '\\r' }[character];
  const code = character.codePointAt(0);
  const hex = (digits) => code.toString(16).padStart(digits, '0');
  return named ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}

function show(answer, card) {
  const sure = isSure(answer);
  const named = answer.closest.slice(0, answer.clear ? 1 : 2).map((each) => each.label);
  card.className = sure ? 'done' : 'done unsure';
  find('h2', card).textContent = sure ? answer.label : `Not sure: ${named.join(' or ')}?`;
  const shown = answer.unsure ? answer.closest : answer.labels.slice(0, shownLabels);
  for (const { label, score } of shown) {
    const bar = copyOf('#bar');
    find('.label', bar).textContent = label;
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
find('#so_far button').addEventListener('click', download);
find('#files').addEventListener('change', (e) => { add(e.target.files); e.target.value = ''; });
showModel().catch(() => say('#model', silent));
