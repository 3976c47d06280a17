"""Queues that may be passed to tasks. See `face` for what users hold, and `hub` for how items travel.

::

     owner process                                    | worker, its threads and children
    +------+   +-------+    +----------------------+  |  +------+    +------+
    | face |-->| Store |<---| Hub: thread, listener |<--->| link |<---| face |
    +------+   +-------+    +----------------------+  |  +------+    +------+
       `-- straight, under the hub's lock                 puts: one stream a process, nobody waits for an answer
                                                          the rest: question and answer, a connection a thread

Imported by nobody until a queue is made or unpickled: a worker without queues does not load it.
"""

from __future__ import annotations
