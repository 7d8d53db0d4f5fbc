package specs

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Limits of one expression: far above any rule that a person reads, far below
// what could stall validation.
const (
	exprNodes  = 1000
	exprMemory = 100_000
)

// expression is a compiled boolean expr.
type expression struct {
	src     string
	program *vm.Program
	names   []string // of variables it reads
	reads   []string // names, and those that may be its own variables
	axes    []string // of axis["..."]
}

// exprError is what is wrong with the source of an expression.
type exprError struct {
	src  string
	col  int // characters before the place, -1 if not known
	msg  string
	hint string
}

func (e *exprError) Error() string {
	s := fmt.Sprintf("%s in %s", e.msg, inQuotes(e.src))
	if e.col >= 0 {
		s = fmt.Sprintf("%s at character %d", s, e.col+1)
	}
	if e.hint != "" {
		s += " (" + e.hint + ")"
	}
	return s
}

// compileExpr compiles src against env; with open, names that env lacks are
// allowed and looked up when it runs. Nothing that it can call depends on the
// time of day.
func compileExpr(src string, env map[string]any, open bool) (*expression, *exprError) {
	seen := &reading{}
	options := []expr.Option{
		expr.Env(env), expr.AsBool(), expr.MaxNodes(exprNodes), expr.Patch(seen),
		expr.DisableBuiltin("now"), expr.DisableBuiltin("date"),
	}
	if open {
		options = append(options, expr.AllowUndefinedVariables())
	}
	program, err := compileSafely(src, options)
	if err == nil && open && len(seen.calls) > 0 {
		err = fmt.Errorf("there is no function %s", seen.calls[0])
	}
	if err == nil && slices.Contains(seen.names, "$env") {
		err = errors.New("$env cannot be read, name what you mean")
	}
	if err != nil {
		return nil, explain(src, err, sortedKeys(env))
	}
	reads := slices.Clone(seen.names)
	names := slices.DeleteFunc(seen.names, func(n string) bool {
		return slices.Contains(seen.locals, n) || slices.Contains(seen.calls, n)
	})
	slices.Sort(names)
	slices.Sort(reads)
	return &expression{src: src, program: program, names: slices.Compact(names), reads: slices.Compact(reads), axes: seen.axes}, nil
}

func compileSafely(src string, options []expr.Option) (p *vm.Program, err error) {
	defer func() {
		// A fault of the compiler must not take the program down.
		if fault := recover(); fault != nil {
			err = fmt.Errorf("cannot be compiled: %v", fault)
		}
	}()
	return expr.Compile(src, options...)
}

// notBool is how a machine says that what it was to return is no boolean.
var notBool = regexp.MustCompile(`^invalid operation: bool\(`)

var unknownName = regexp.MustCompile(`^unknown name (\S+)`)

func explain(src string, err error, names []string) *exprError {
	out := &exprError{src: src, col: -1, msg: err.Error()}
	var at *file.Error
	if errors.As(err, &at) {
		out.msg, out.col = at.Message, at.From
	}
	out.msg, _, _ = strings.Cut(out.msg, "\n")
	if m := unknownName.FindStringSubmatch(out.msg); m != nil {
		out.hint = didYouMean(m[1], names)
	}
	return out
}

// asExprError gives an error of holds its place in src.
func asExprError(src string, err error) *exprError {
	var out *exprError
	if errors.As(err, &out) {
		return out
	}
	return &exprError{src: src, col: -1, msg: err.Error()}
}

// holds runs the expression. machine may be used again and again, by one
// caller at a time.
func (x *expression) holds(machine *vm.VM, env map[string]any) (bool, error) {
	machine.MemoryBudget = exprMemory
	out, err := machine.Run(x.program, env)
	b, ok := out.(bool)
	switch {
	case err != nil && notBool.MatchString(err.Error()):
		return false, &exprError{src: x.src, col: -1, msg: "neither true nor false is the result"}
	case err != nil:
		return false, explain(x.src, err, nil)
	case !ok:
		return false, &exprError{src: x.src, col: -1, msg: fmt.Sprintf("neither true nor false but %v is the result", out)}
	}
	return b, nil
}

// machines are machines that holdsIn has used: each keeps its stack.
var machines = sync.Pool{New: func() any { return new(vm.VM) }}

// holdsIn is holds for callers that keep no machine.
func (x *expression) holdsIn(env map[string]any) (bool, error) {
	machine := machines.Get().(*vm.VM)
	defer machines.Put(machine)
	return x.holds(machine, env)
}

// reading is a visitor that notes what an expression reads.
type reading struct {
	names, locals, calls, axes []string
}

func (v *reading) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		v.names = append(v.names, n.Value)
	case *ast.VariableDeclaratorNode:
		v.locals = append(v.locals, n.Name)
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			v.calls = append(v.calls, f.Value)
		}
	case *ast.MemberNode:
		of, ok := n.Node.(*ast.IdentifierNode)
		key, constant := n.Property.(*ast.StringNode)
		if ok && constant && of.Value == "axis" && !slices.Contains(v.axes, key.Value) {
			v.axes = append(v.axes, key.Value)
		}
	}
}

// knowsAxes checks that every axis["..."] is one of axes.
func (x *expression) knowsAxes(axes []string) *exprError {
	for _, a := range x.axes {
		if !slices.Contains(axes, a) {
			return &exprError{src: x.src, col: -1, msg: fmt.Sprintf("the sweep has no axis %q", a), hint: didYouMean(a, axes)}
		}
	}
	return nil
}

// exprError records what is wrong with the expression that n holds, as near to
// the place inside it as the source allows.
func (r *reader) exprError(n *node, where string, err *exprError) {
	at := n.pos
	if at.flag == "" && err.col >= 0 && at.line <= len(r.lines) {
		line := []rune(r.lines[at.line-1])
		start := at.col - 1
		if n.quoted {
			start++
		}
		// Only if it stands there as it was compiled: no escapes, one line.
		if start <= len(line) && strings.HasPrefix(string(line[start:]), n.text) {
			at.col = start + 1 + err.col
		}
	}
	r.errorf(at, err.hint, "%s: %s in %s", where, err.msg, inQuotes(err.src))
}

// inQuotes quotes an expression in a way that keeps its own quotes readable.
func inQuotes(src string) string {
	if strings.ContainsAny(src, "`\n\r\t") {
		return strconv.Quote(src)
	}
	return "`" + src + "`"
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
