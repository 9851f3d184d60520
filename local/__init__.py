"""The local target: the stacks of config/local.yaml on this machine, by the CDK CLI and an emulator of AWS.

`make local` starts it. The folder .local/ holds all that it installs and writes: venv/, run/ (the state of the emulator that
runs) and mariadb/ (where the system lacks it).
"""
