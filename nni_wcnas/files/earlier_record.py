"""Records of earlier releases, completed with the keys that they lack, from what else they hold."""

from __future__ import annotations

from typing import Any

__all__ = ['CURVE', 'updated']

CURVE = 'error_attack_pgd_20_at_'
"""Prefix of the names of the measures on PGD's curve over epsilon; the epsilon, of 255, follows it."""


def updated(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a record with all keys that records have today.

    In earlier releases groups of test images and PGD's curve were not groups of measures of their own, and there was
    one seed: that of the search, or, where there was no search, that of the retraining. How the search went was not
    kept.
    """
    with_ = dict(document['measured_with'])  # A copy: the caller's document stays as it was.
    # The groups stood among what the clean test set was measured with.
    if 'groups' in (test := with_.get('test', {})):
        with_['test'] = {key: value for key, value in test.items() if key != 'groups'}
        if test['groups']:
            with_['groups'] = {'source': test['groups']}
    # The curve was measured with the attacks' settings, but for their epsilon: each of its points has its own.
    if 'attacks' in with_ and 'curve' not in with_ and any(name.startswith(CURVE) for name in document['measures']):
        with_['curve'] = {key: value for key, value in with_['attacks'].items() if key != 'epsilon'}
    # The order is the precedence: the document's own keys go over the empty ones, and what was worked out over those.
    return {'search_history': [], 'tester_images': [], **document, 'measured_with': with_, **_seeds(document)}


def _seeds(document: dict[str, Any]) -> dict[str, Any]:
    """Work out the seeds of search and retraining for a record that has one seed; empty where it has both."""
    if 'retraining_seed' in document:
        return {}
    retraining, seed = document['settings'].get('retrain', {}), document['seed']
    # The one seed was the search's, unless only the settings of the retraining name one.
    searched = 'seed' in document['settings'].get('search', {}) or 'seed' not in retraining
    return {'seed': seed if searched else None, 'retraining_seed': retraining.get('seed', seed)}
