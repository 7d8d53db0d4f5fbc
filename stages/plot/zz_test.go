package plot
import ("testing";"vbp/stages/plot/render")
func BenchmarkAll(b *testing.B){ f,_:=Comparison(crowd(8,100),Options{}); for _,k:=range []string{"svg","png"}{ b.Run(k,func(b *testing.B){ for range b.N { switch k{case "pdf":render.PDF(f);case "svg":render.SVG(f);default:render.PNG(f,0)} } }) } }
