//go:build tools

// Package kube names the programs that the tests build, so that go.mod pins them and all they need.
package kube

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
