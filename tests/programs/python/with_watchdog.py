"""A program that reloads by watchdog: python with_watchdog.py WATCHED FILE

It overrides the four callbacks that mean a change and leaves folders out, as PatternMatchingEventHandler
offers. on_closed comes as well, after on_modified; reading makes on_opened and on_closed_no_write.
"""

import sys

from watchdog.events import PatternMatchingEventHandler
from watchdog.observers import Observer

from report import reaction, ready

watched, file = sys.argv[1:]


class Handler(PatternMatchingEventHandler):
    def on_modified(self, event):
        reaction([event.src_path], file)

    def on_created(self, event):
        reaction([event.src_path], file)

    def on_deleted(self, event):
        reaction([event.src_path], file)

    def on_moved(self, event):
        reaction([event.dest_path], file)


observer = Observer()
observer.schedule(Handler(ignore_directories=True), watched)
observer.start()
ready("watchdog")
observer.join()
