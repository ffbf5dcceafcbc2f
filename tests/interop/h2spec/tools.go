//go:build tools

// Names the suite's command, so that go.mod and go.sum pin it.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
