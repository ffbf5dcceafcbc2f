package micro_test

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/micro/micro/bindings/go/internal/native"
	"go.uber.org/goleak"
)

// Every test leaves nothing behind: no goroutine, and nothing that the library counts.
func TestMain(m *testing.M) {
	if folder := os.Getenv(asService); folder != "" {
		serveAlone(folder)
	}
	if folder := os.Getenv(asWorker); folder != "" {
		workAlone(folder)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})))
	code := m.Run()
	if err := goleak.Find(); err != nil {
		println(err.Error())
		code = 1
	}
	if alive := native.Live(0); code == 0 && alive != 0 {
		println("things of the library are alive after the last test:", alive)
		code = 1
	}
	os.Exit(code)
}
