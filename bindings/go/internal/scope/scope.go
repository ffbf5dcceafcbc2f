// Package scope is how a context says which call is being served.
package scope

import (
	"context"

	"github.com/micro/micro/bindings/go/internal/native"
)

type key struct{}

// Key is what a context answers with the *native.Inbound that is served.
var Key any = key{}

// Parent is the call that is being served, or nil.
func Parent(ctx context.Context) *native.Inbound {
	call, _ := ctx.Value(Key).(*native.Inbound)
	return call
}
