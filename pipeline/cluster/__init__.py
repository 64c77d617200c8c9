"""Runs the pipeline on a Kubeflow cluster: a thin layer over kfp's client.

- `client`: signs in, sends requests to the KFP API server, checks its answers.
- `uploads`: pipelines and their versions on the server.
- `runs`: starts runs, finds them, follows them, reads their logs.
- `schedules`: KFP's recurring runs, kept by name.
- `dry_run`: what a submission or a schedule would change.

Signing in is kfp's (`client.sign_in`), and so are the generated API classes. The methods of
`kfp.Client` 2.17 are not used: they have no deadline, repeat no request that the server answers
with 429 or 503, and print links to stdout; `create_experiment` fails if somebody else creates the
experiment at the same time; `wait_for_run_completion` shows no steps, and waits for a canceled run
until its timeout.
"""
