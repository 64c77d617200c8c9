"""Runs the pipeline on a Kubeflow cluster: a thin layer over kfp's client.

- `client`: signs in, sends requests to the KFP API server, checks its answers.
- `uploads`: pipelines and their versions on the server.
- `runs`: starts runs, finds them, follows them, reads their logs.
- `schedules`: KFP's recurring runs, kept by name.
- `dry_run`: what a submission or a schedule would change.

Signing in is kfp's (`client.sign_in`), and so are the generated API classes. The methods of
`kfp.Client` 2.17 are not used: each sends a request without a timeout and without a retry, and
prints links to stdout; `create_experiment` fails if somebody else creates the experiment at the
same time; `wait_for_run_completion` never returns for a canceled run and shows no steps.
"""
