"""``python -m nni_wcnas.cli``: the command where its script is not on the path, as in a trial of NNI."""

import sys

from nni_wcnas.cli import main

sys.exit(main())
