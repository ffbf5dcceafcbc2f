package micro_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/micro/micro/bindings/go/registry"
)

type registryNode = registry.Node

func goexit() { runtime.Goexit() }

// eventually waits until something holds, which the library brings about by itself.
func eventually(t testing.TB, holds func() bool) {
	t.Helper()
	until := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(until) {
			t.Fatal("it does not hold after ten seconds")
		}
		runtime.Gosched()
	}
}
