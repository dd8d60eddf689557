package daemon

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Program says how a process that runs the program at path is recognised: for an Identity, its Executables and a
// Test to be combined with others by All. A script (#!) runs as its interpreter. A path that cannot be read is
// taken for a binary.
func Program(path string) (executables []string, test Test) {
	any := func(context.Context, *Process) (bool, error) { return true, nil }
	f, err := os.Open(path)
	if err != nil {
		return []string{path}, any
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 256)).ReadBytes('\n')
	words := strings.Fields(string(bytes.TrimPrefix(line, []byte("#!"))))
	if err != nil || !bytes.HasPrefix(line, []byte("#!")) || len(words) == 0 {
		return []string{path}, any
	}
	interpreter := filepath.Base(words[0])
	if interpreter == "env" && len(words) > 1 {
		interpreter = filepath.Base(words[len(words)-1])
	}
	return []string{interpreter + "*"}, Script(filepath.Base(path))
}
