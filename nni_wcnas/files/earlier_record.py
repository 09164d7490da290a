"""What records of earlier releases lack, from what else they hold."""

from __future__ import annotations

from typing import Any

__all__ = ['CURVE', 'updated']

CURVE = 'error_attack_pgd_20_at_'
"""How the names of the points of PGD's curve begin."""


def updated(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a record with the keys that it has today.

    Groups of test images and PGD's curve were not groups of measures of their own, and there was one seed: that of the
    search, or where there was none, of the retraining. How the search went was not kept.
    """
    with_ = dict(document['measured_with'])
    if 'groups' in (test := with_.get('test', {})):
        with_['test'] = {key: value for key, value in test.items() if key != 'groups'}
        if test['groups']:
            with_['groups'] = {'source': test['groups']}
    if 'attacks' in with_ and 'curve' not in with_ and any(name.startswith(CURVE) for name in document['measures']):
        with_['curve'] = {key: value for key, value in with_['attacks'].items() if key != 'epsilon'}
    return {'search_history': [], 'tester_images': [], **document, 'measured_with': with_, **_seeds(document)}


def _seeds(document: dict[str, Any]) -> dict[str, Any]:
    """Both seeds, where a record has one."""
    if 'retraining_seed' in document:
        return {}
    retraining, seed = document['settings'].get('retrain', {}), document['seed']
    searched = 'seed' in document['settings'].get('search', {}) or 'seed' not in retraining
    return {'seed': seed if searched else None, 'retraining_seed': retraining.get('seed', seed)}
