"""The comparison page in Chromium: nothing is fetched, nothing is said on the console, nothing is cut off."""

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
