"""The pages in Chromium: nothing is fetched, nothing is said on the console, nothing is cut off or interpreted."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from dataclasses import asdict, replace

import pytest
from test_comparison import CLEAR, record
from websockets.sync.client import connect

from nni_wcnas.compare import comparison_page
from nni_wcnas.compare.trial import Trial, trial_sections, write_trials
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.report import write_report
from nni_wcnas.page.run_pictures import write_architecture
from nni_wcnas.spaces import published

pytestmark = pytest.mark.skipif(shutil.which('chromium') is None, reason='there is no chromium')

OPTIONS = ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking')


class Tab:
    """One page of a browser, by the DevTools protocol."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count()
        self.events = []
        for domain in ('Page', 'Network', 'Log', 'Runtime'):
            self.call(f'{domain}.enable')

    def call(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({'id': number, 'method': method, 'params': parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get('id') == number:
                return answer['result']
            self.events.append(answer)

    def value(self, expression):
        return self.call('Runtime.evaluate', expression=expression)['result']['value']

    def open(self, url, width):
        phone = width < 500
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=900, deviceScaleFactor=1, mobile=phone)
        self.call('Page.navigate', url=url)
        while not (self.value('location.href') == url and self.value('document.readyState') == 'complete'):
            time.sleep(0.1)


@pytest.fixture
def tab(tmp_path):
    """A browser of its own, with an empty profile."""
    profile = tmp_path / 'profile'
    command = ['chromium', *OPTIONS, '--remote-debugging-port=0', f'--user-data-dir={profile}', 'about:blank']
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port = profile / 'DevToolsActivePort'
            until = time.monotonic() + 60
            while not (port.exists() and port.read_text().count('\n')):
                assert time.monotonic() < until, 'Chromium does not start'
                time.sleep(0.1)
            with urllib.request.urlopen(f'http://127.0.0.1:{port.read_text().split()[0]}/json') as answer:
                pages = [target for target in json.load(answer) if target['type'] == 'page']
            with connect(pages[0]['webSocketDebuggerUrl'], max_size=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()


def test_page_opens_offline_and_fits(tab, tmp_path):
    """On a desk, on a phone and in print."""
    path = tmp_path / 'compare.html'
    path.write_text(comparison_page(CLEAR, 'Comparison'))
    for width in (1280, 390):
        tab.open(path.as_uri(), width)
        assert tab.value('document.documentElement.scrollWidth') <= width
        assert tab.value('document.querySelectorAll("img, svg").length') > 4
        assert tab.value('[...document.images].every(image => image.naturalWidth > 0)')
    assert base64.b64decode(tab.call('Page.printToPDF')['data']).startswith(b'%PDF')
    sent = [event['params'] for event in tab.events if event['method'] == 'Network.requestWillBeSent']
    asked = {request['request']['url'] for request in sent}
    assert {url for url in asked if not url.startswith('data:')} == {path.as_uri()}
    spoken = ('Log.entryAdded', 'Runtime.consoleAPICalled', 'Runtime.exceptionThrown')
    assert [event for event in tab.events if event['method'] in spoken] == []


PAPER = 718
"""Pixels between the margins of A4."""


def test_nothing_is_cut_off_on_a_desk_or_folded_on_paper(tab, tmp_path):
    """Four methods, whose cells are folds of which the page opens two; every column of the widest table has numbers."""
    wide = dict.fromkeys(('error_worst_class', 'error_worst_3_classes', 'error_worst_group', 'loss_cvar', 'loss', 'ece',
                          'ece_hard', 'brier', 'brier_hard'), 0.12345)
    records = []
    for name in ('darts_v1', 'darts_v2', 'p_darts_cifar10', 'sdarts_adv'):
        architecture = {**asdict(published.load(name)), 'provenance': {}}
        for each in (record(name, seed, 0.1 + 0.01 * seed) for seed in range(2)):
            records.append(replace(each, architecture=architecture, measures={**each.measures, **wide}))
    path = tmp_path / 'compare.html'
    path.write_text(comparison_page(records))
    tab.open(path.as_uri(), 1280)
    cut = "[...document.querySelectorAll('.scroll')].filter(table => table.scrollWidth > table.clientWidth).length"
    assert tab.value(cut) == 0
    tab.open(path.as_uri(), PAPER)
    folded = ("[...document.querySelectorAll('details img')].filter("
              'image => !image.checkVisibility({contentVisibilityAuto: true})).length')
    assert tab.value(folded) == 4
    tab.call('Emulation.setEmulatedMedia', media='print')
    assert tab.value(folded) == 0
    assert tab.value('document.documentElement.scrollWidth') <= PAPER


HOSTILE = '<script>document.title = "run"</script>"><img src=x onerror="document.title=1"> & </title></style>'
"""Markup that would change the title of the page if it were interpreted, also behind the end of a tag or attribute."""


@pytest.fixture
def pages(tmp_path, architecture):
    """The report of a run, the comparison and the page of an experiment, by name; hostile texts wherever text goes."""
    # A real folder, whose name cannot hold the separator of paths.
    run = RunDirectory(tmp_path / HOSTILE.replace('/', '|'))
    run.write_settings({'method': HOSTILE, HOSTILE: {HOSTILE: HOSTILE}, 'monitoring': {'hyperparameters': [HOSTILE]}})
    run.write_history([{'epoch': epoch, 'entropy': 1.0, HOSTILE: 0.5} for epoch in range(3)])
    run.write_measures({'error': 0.1, 'error_hard': 0.2, HOSTILE: 1.0})
    write_architecture(run, replace(architecture, sample={'view': 'raw', **architecture.sample},
                                    arguments={'views': ['raw', 'luminance']}))
    trials = [Trial(run, HOSTILE, {'method': {'_name': HOSTILE}, HOSTILE: HOSTILE, 'seed': seed}) for seed in range(2)]
    given = [replace(each, name=HOSTILE, method=f'{HOSTILE} {each.method}', class_names=[HOSTILE, 'one'],
                     data=HOSTILE, commit=HOSTILE, versions={'torch': HOSTILE}, checkpoint=HOSTILE,
                     search_history=[{'epoch': epoch, 'entropy': 1.0} for epoch in range(3)],
                     settings={'retrain': {'epochs': HOSTILE if each.seed else 1, HOSTILE: each.seed}},
                     architecture={**asdict(published.load('darts_v2')), 'provenance': {}})
             for each in CLEAR]
    paths = {'report': write_report(run, title=HOSTILE), 'experiment': tmp_path / 'experiment.html',
             'trials': write_trials(tmp_path / 'trials.html', trials, HOSTILE, HOSTILE),
             'compare': tmp_path / 'compare.html'}
    paths['experiment'].write_text(comparison_page(
        given, HOSTILE, trials=trial_sections(paths['experiment'], trials), subtitle=HOSTILE))
    paths['compare'].write_text(comparison_page(given, HOSTILE))
    return paths


def test_markup_is_shown_and_not_interpreted(tab, pages):
    """No element comes of it, and the reader sees its letters."""
    for name, path in pages.items():
        # The policy alone would stop scripts; here it is taken away, so that the escaping is what is tried.
        text = path.read_text()
        start = text.index('<meta http-equiv')
        path.write_text(text[:start] + text[text.index('>', start) + 1:])
        tab.open(path.as_uri(), 1280)
        assert tab.value('document.title') == HOSTILE, name
        assert tab.value('document.querySelector("h1").textContent') == HOSTILE
        assert tab.value('document.querySelectorAll("script, [onerror]").length') == 0
        # What was interpreted would have ended the page early, or left an image without its source.
        assert tab.value('[...document.images].every(image => image.src.startsWith("data:"))')
        assert tab.value('document.body.textContent.split("<script>").length') > 4


BROKEN = """(() => {
  // Words of names and heads of tables whose letters stand on more than one line.
  const broken = [];
  for (const element of document.querySelectorAll('th, td:not(.pairs td), summary, h2, h3, .key, text.name')) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      for (const found of walker.currentNode.data.matchAll(/[\\p{L}\\d_]+/gu)) {
        const range = document.createRange();
        range.setStart(walker.currentNode, found.index);
        range.setEnd(walker.currentNode, found.index + found[0].length);
        if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) broken.push(found[0]);
      }
    }
  }
  return broken.join(' ');
})()"""


def test_an_experiment_is_readable_on_a_phone_and_on_a_desk(tab, tmp_path, architecture):
    """With names as users have them; no sideways scrolling of the page, no table scrolled away, no broken word."""
    trials, records = [], []
    for place, method in enumerate(('wcnas(darts_2nd)', 'wcnas(drnas_progressive)', 'wcnas_ablation_without_lambda')):
        for seed in range(2):
            run = RunDirectory(tmp_path / f'aB{place}x{seed}')
            run.write_measures({'error': 0.1, 'error_hard': 0.2, 'parameters': 1e4, 'macs': 1e6, 'search_seconds': 50.0,
                                'pretraining_seconds': 4.673, 'search_memory': 1e9})
            run.write_history([{'epoch': epoch, 'entropy': 1.0, 'val_accuracy_hard': 0.4} for epoch in range(13)])
            write_architecture(run, architecture)
            write_report(run)
            trials.append(Trial(run, method, {'method': {'_name': method, 'trade_off': 0.5 + place}, 'seed': seed}))
            each = record(method, seed, 0.1 + 0.01 * seed)
            records.append(replace(each, measures={**each.measures, 'error_worst_group': 0.9, 'ece': 0.1}))
    path = tmp_path / 'report.html'
    path.write_text(comparison_page(records, 'tiny, 2026-11-30', trials=trial_sections(path, trials)))
    for width in (1280, 400):
        tab.open(path.as_uri(), width)
        assert tab.value('document.documentElement.scrollWidth') <= width
        assert tab.value("[...document.querySelectorAll('.stacked')].filter(table => table.scrollWidth > "
                         "table.parentElement.clientWidth).map(table => table.innerText).join()") == ''
        assert tab.value(BROKEN) == ''
    tab.open(path.as_uri(), PAPER)
    tab.call('Emulation.setEmulatedMedia', media='print')
    wide = (f"[...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > {PAPER})"
            ".map(each => each.tagName + ' ' + each.className + ' ' + each.textContent).join()")
    assert tab.value(wide) == ''
