'use strict';
// Paths and labels are other people's text: they go into the page as text, never as markup.
const find = (selector, within = document) => within.querySelector(selector);
const classKeys = [...'1234567890abcdefghijklmnopqstvwyz'];  // R, X and U are taken
const mostButtons = 60;
let state, at = 0;
let work = Promise.resolve();  // what is pressed is done in its order

async function ask(path, value) {
  const asked = value === undefined ? {} : {
    method: 'POST', headers: { 'X-Token': state.token }, body: JSON.stringify(value),
  };
  const response = await fetch(path, asked);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(trouble) {
  find('#trouble').textContent = trouble;
  find('#trouble').hidden = !trouble;
}

async function doing(what) {
  try {
    await what();
    say('');
  } catch (error) {
    say(error instanceof TypeError ? 'The server does not answer.' : error.message);
  }
}

const doNext = (what) => { work = work.then(() => doing(what)); };
const isDecided = (card) => card.image in state.decided;

function firstOpen(from, isWanted = () => true) {
  const order = state.cards.map((_, i) => (from + i) % state.cards.length);
  const open = order.find((i) => !isDecided(state.cards[i]) && isWanted(state.cards[i]));
  return open === undefined ? state.cards.length : open;
}

async function decide(action, label) {
  const card = state.cards[at];
  if (!card) return;
  Object.assign(state, await ask('decide', { image: card.image, action, label }));
  at = firstOpen(at + 1);
  show();
}

async function undo() {
  const answer = await ask('undo', {});
  Object.assign(state, answer);
  at = state.cards.findIndex((card) => card.image === answer.undone);
  show();
}

async function step(by) {
  at = Math.min(Math.max(at + by, 0), state.cards.length);
  show();
}

function button(text, key, pressed) {
  const made = document.createElement('button');
  if (key) {
    const kbd = document.createElement('kbd');
    kbd.textContent = key.toUpperCase();
    made.append(kbd, ' ');
  }
  made.append(text);
  made.addEventListener('click', () => { made.blur(); doNext(pressed); });
  return made;
}

function showKinds() {
  find('#kinds').replaceChildren(...state.kinds.map((kind) => {
    const cards = state.cards.filter((card) => card.kind === kind);
    const text = `${kind}: ${cards.filter(isDecided).length} of ${cards.length}`;
    const made = button(text, '', async () => {
      at = firstOpen(0, (card) => card.kind === kind);
      show();
    });
    made.disabled = !cards.some((card) => !isDecided(card));
    made.className = state.cards[at]?.kind === kind ? 'current' : '';
    return made;
  }));
  find('#progress').max = state.cards.length || 1;
  find('#progress').value = state.cards.filter(isDecided).length;
}

function told({ action, label }) {
  if (action === 'relabel') return `Decided: it is ${state.labels[label] ?? 'of another class'}.`;
  return action === 'right' ? 'Decided: it is right.' : 'Decided: it is left out.';
}

function showClasses(card) {
  const { label } = state.images[card.image];
  const places = state.labels.map((_, place) => place);
  const shown = places.length <= mostButtons ? places : places.slice(0, classKeys.length);
  find('#classes').replaceChildren(...shown.map((place) => {
    const made = button(state.labels[place], classKeys[place], () => decide('relabel', place));
    made.className = place === card.suggested ? 'suggested' : '';
    made.disabled = place === label;
    if (place === card.suggested) made.title = 'Enter';
    return made;
  }));
}

function showTwins(card) {
  find('#alike').hidden = !card.alike.length;
  find('#alike div').replaceChildren(...card.alike.map((number) => {
    const twin = find('#twin').content.firstElementChild.cloneNode(true);
    const { path, label, split } = state.images[number];
    find('img', twin).src = `image/${number}`;
    find('figcaption', twin).textContent = `${path}: ${state.labels[label]}, ${split}`;
    return twin;
  }));
}

function show() {
  showKinds();
  const card = state.cards[at];
  find('#card').hidden = !card;
  find('#done').hidden = Boolean(card);
  find('#alike').hidden = true;
  if (!card) return;
  const { path, label, split } = state.images[card.image];
  find('#image').src = `image/${card.image}`;
  find('#path').textContent = `${path} (${split})`;
  find('#label').textContent = state.labels[label];
  find('#said').replaceChildren(...card.said.map((said) => {
    const line = document.createElement('li');
    line.textContent = said;
    return line;
  }));
  find('#decided').hidden = !isDecided(card);
  if (isDecided(card)) find('#decided').textContent = told(state.decided[card.image]);
  find('#undo').disabled = !state.can_undo;
  showClasses(card);
  showTwins(card);
}

async function start() {
  state = await ask('cards');
  document.title = `Review of ${state.name}`;
  find('#table').textContent = state.table;
  find('#command').textContent = `poets-retrain FOLDER --corrections='${state.table.replaceAll("'", "'\\''")}'`;
  find('#search').hidden = state.labels.length <= classKeys.length;
  find('#names').replaceChildren(...state.labels.map((label) => new Option(label, label)));
  at = firstOpen(0);
  show();
}

const pressed = {
  r: () => decide('right'),
  x: () => decide('leave_out'),
  u: undo,
  arrowleft: () => step(-1),
  arrowright: () => step(1),
  enter: async () => {
    const suggested = state.cards[at]?.suggested;
    if (suggested !== null && suggested !== undefined) await decide('relabel', suggested);
  },
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !state) return;
  if (event.target.id === 'name') return;
  const key = event.key.toLowerCase(), place = classKeys.indexOf(key);
  if (key === 'enter' && event.target.tagName === 'BUTTON') return;
  if (key === '/' && !find('#search').hidden) {
    find('#name').focus();
  } else if (key in pressed) {
    doNext(pressed[key]);
  } else if (place >= 0 && place < state.labels.length) {
    doNext(() => decide('relabel', place));
  } else {
    return;
  }
  event.preventDefault();
});
find('#name').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') event.target.blur();
  if (event.key !== 'Enter') return;
  const place = state.labels.indexOf(event.target.value);
  if (place < 0) return say(`There is no label ${event.target.value}.`);
  event.target.value = '';
  event.target.blur();
  doNext(() => decide('relabel', place));
});
for (const [id, key] of [
  ['right', 'r'], ['leave_out', 'x'], ['undo', 'u'], ['previous', 'arrowleft'], ['next', 'arrowright'],
]) {
  find(`#${id}`).addEventListener('click', (event) => { event.currentTarget.blur(); doNext(pressed[key]); });
}
find('#image').addEventListener('error', () => say('This image cannot be read: see the terminal, or start anew.'));
doNext(start);
