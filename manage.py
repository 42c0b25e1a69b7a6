#!/usr/bin/env python
"""Run an administrative command of the control plane, from its repository; installed it is `deepseek-plane`."""

from controlplane.__main__ import main

if __name__ == "__main__":
    main()
