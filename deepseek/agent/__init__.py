"""The agent of a device: it polls a plane, installs releases, serves the model and reports. See docs/agent.md."""
