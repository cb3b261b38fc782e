"""A program that reloads by watchfiles: python with_watchfiles.py WATCHED FILE

One round of its loop is one reaction. It says that it is ready before it watches: the loop gives it
no place to do so later.
"""

import sys

from watchfiles import watch

from report import reaction, ready

watched, file = sys.argv[1:]
ready("watchfiles")
for changes in watch(watched):
    reaction({path for _, path in changes}, file)
