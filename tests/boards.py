"""TensorBoard over a run's folder, and what its pages show in a browser."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def served(logdir: Path) -> Iterator[str]:
    """Serves a folder; yields the address."""
    command = [sys.executable, '-m', 'tensorboard.main', '--logdir', str(logdir), '--port', '0']
    with subprocess.Popen(
        [*command, '--load_fast', 'false'], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if match := re.search(r'http://localhost:\d+/', line):
                    yield match[0]
                    return
            raise AssertionError('TensorBoard did not start')
        finally:
            server.terminate()


# The text and the pictures of a page, through shadow roots and frames.
LOOK = """
const found = {text: '', pictures: 0, lines: 0};
function look(node) {
  if (!node || ['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.tagName)) return;
  if (node.nodeType === Node.TEXT_NODE) found.text += node.textContent + ' ';
  if (node.tagName === 'IMG' && node.naturalWidth > 100) found.pictures += 1;
  if (node.tagName === 'path' && node.classList.contains('line')
      && (node.getAttribute('d') || '').length > 100) found.lines += 1;  // not an icon
  if (node.shadowRoot) look(node.shadowRoot);
  if (node.tagName === 'IFRAME' && node.contentDocument) look(node.contentDocument.body);
  for (const child of node.childNodes) look(child);
}
look(document.body);
return found;
"""


def looked_at(
    browser: Any, address: str, wanted: Callable[[dict[str, Any]], bool], seconds: float = 60
) -> dict[str, Any]:
    """Opens a page and waits until it shows what is wanted; gives what it shows."""
    browser.get('about:blank')
    browser.get(address)
    deadline = time.monotonic() + seconds
    while True:
        shown = browser.execute_script(LOOK)
        shown['text'] = ' '.join(shown['text'].split())
        if wanted(shown):
            return shown
        assert time.monotonic() < deadline, shown['text'][-3000:]
        time.sleep(0.5)
