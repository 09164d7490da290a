"""Checks of NNI's tuners and assessors: each is made once before an experiment starts, as NNI's manager makes it.

NNI itself makes them in a process that it has started already: a mistake there would only stand in a log.
"""

from __future__ import annotations

from typing import Any

from nni.tools.package_utils import create_builtin_class_instance, get_all_algo_meta

from nni_wcnas.settings.problems import CommandError, did_you_mean

__all__ = ['check_algorithms', 'is_batch']


def check_algorithms(config: Any, path: object) -> None:
    """Refuse an unknown tuner or assessor, and arguments that it does not take.

    Parameters
    ----------
    config
        NNI's configuration, in its canonical form; algorithms of the user's own are left to NNI.
    path
        The file that it was read from.

    Raises
    ------
    CommandError
        Naming the file, the key, the mistake and the remedy in one sentence.
    """
    for kind in ('tuner', 'assessor'):
        algorithm = getattr(config, kind)
        if algorithm is None or algorithm.name is None:
            continue
        # An advisor is a tuner and an assessor in one, and is given in the place of a tuner.
        kinds = (kind, 'advisor') if kind == 'tuner' else (kind,)
        metas = [meta for meta in get_all_algo_meta() if meta.algo_type in kinds]
        # NNI takes either name, in capitals or not.
        names = {name.lower(): meta for meta in metas for name in (meta.name, meta.alias) if name}
        meta = names.get(algorithm.name.lower())
        if meta is None:
            known = did_you_mean(algorithm.name, [meta.name for meta in metas])
            raise CommandError(f'{path}: {kind}.name: {algorithm.name!r} is not a known {kind}; {known}')
        if meta.algo_type == kind:  # An advisor is no tuner that can be made alone.
            _make(algorithm, kind, path)


def is_batch(tuner: Any) -> bool:
    """Tell whether a tuner is BatchTuner, which goes through a list of proposals."""
    return tuner is not None and str(tuner.name).lower() in ('batchtuner', 'batch')


def _make(algorithm: Any, kind: Any, path: object) -> None:
    """Make a tuner or assessor from its arguments and drop it; what goes wrong is a :class:`CommandError`."""
    try:
        create_builtin_class_instance(algorithm.name, algorithm.class_args, f'{kind}s')  # type: ignore[arg-type]
    # Each algorithm checks its arguments in its own way, and may raise anything.
    except Exception as error:
        reason = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
        raise CommandError(
            f'{path}: {kind}.classArgs: {algorithm.name} cannot be made ({reason}); correct its classArgs, or take '
            'another'
        ) from error
