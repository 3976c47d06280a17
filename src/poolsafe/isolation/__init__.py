"""What isolation means, without any process: declare -> capture -> restore.

`Plan.make` checks in the parent what the user declared. In each worker `Plan.capture` walks to everything that can be
reached from there and makes a `Snapshot`; `Snapshot.restore` puts it all back before every task.

The files, in the order in which they import each other:

- `modules`: which modules are the project's own
- `shapes`: what the instances of a type consist of
- `kinds`, `scopes`: how captured content is put back, one loop per kind
- `contents`: what is saved of a container, and what is inside
- `places`: where a target's value is bound
- `walk`: finds everything to put back, files it as records
- `import_watch`: tells when modules are imported
- `arrivals`: modules that a task imports
- `snapshot`: the records of one capture, and `restore`
- `targets`: what the user declared: `Plan`, `Resetter`
- `seeds`: random numbers, by seed and task or never the same twice
- `guard`: all of it around each task of a worker

Everything here may be imported by workers, so it imports only what an interpreter has loaded anyway, or nearly. Where
each task starts an interpreter, every module that is not needed counts: there `guard` does with `seeds`, `modules` and
`import_watch`, so the package itself imports nothing.
"""
