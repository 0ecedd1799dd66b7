"""One controller a kind: read, observe, plan, guard, apply, report. They see stores and servers, never a cluster."""
